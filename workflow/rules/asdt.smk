"""Method `asdt`: tags [-> classifier] -> class-teacher, seg-teacher and student in one network -> masks [-> segmenter]."""


include: "data.smk"


if cfg.extra is not None:

    include: "extra.smk"


start = {}
if cfg.classifier is not None:
    classifier = stage(
        "train_classifier",
        "train",
        train_settings("classifier", cfg.classifier, cfg.split),
        {"manifest": manifest},
        modules=["pipeline.methods.classifier"],
        **weight_sources(cfg.classifier),
    )
    start = {"classifier": classifier["weights"]}
teaching = stage(
    "train",
    "train",
    train_settings("asdt", cfg.model, cfg.split),
    {"manifest": manifest, "networks": start},
    modules=["pipeline.methods.asdt"],
    **({} if start else weight_sources(cfg.model)),
)
cams = stage(
    "cams",
    "infer_cams",
    cfg.cams.model_copy(update={"split": cfg.split, "branch": 0}),
    {"manifest": manifest, "weights": teaching["weights"]},
)
maps = {"manifest": manifest, "scores": cams["scores"]}
if cfg.threshold is not None:
    threshold = threshold_search("threshold", maps)
    maps["threshold"] = threshold["threshold"]
cam_masks = stage("label_cams", "label_scores", cfg.labels, maps)
own = cfg.pseudo_masks
pseudo_scores = stage(
    "pseudo_scores",
    "infer_scores",
    own.inference.model_copy(
        update={"split": cfg.split, "branch": cfg.outputs[own.output]}
    ),
    {"manifest": manifest, "weights": teaching["weights"]},
)
scored = {"manifest": manifest, "scores": pseudo_scores["scores"]}
raw_masks = stage("raw_masks", "label_scores", LabelSettings(), scored)
masks = {"CAM": cam_masks["masks"], "pseudo-mask": raw_masks["masks"]}
pseudo_masks = raw_masks
if own.crf is not None:
    pseudo_masks = stage("pseudo_masks", "refine_crf", own.crf, scored)
    masks["pseudo-mask + CRF"] = pseudo_masks["masks"]
networks = {name: (teaching, branch) for name, branch in cfg.outputs.items()}
curves = {"teachers and student": teaching["curves"]}
if cfg.classifier is not None:
    curves["classifier"] = classifier["curves"]
if cfg.segmenter is not None:
    segmenter = stage(
        "train_segmenter",
        "train",
        train_settings("segmenter", cfg.segmenter, cfg.split),
        {"manifest": manifest, "masks": {"mask": pseudo_masks["masks"]}},
        modules=["pipeline.methods.segmenter"],
        **weight_sources(cfg.segmenter),
    )
    networks["segmenter"] = segmenter
    curves["segmenter"] = segmenter["curves"]
rows, shown = [], {"scores": cams["scores"], "curves": curves}
if cfg.threshold is not None:
    shown["threshold"] = threshold["threshold"]
    looks = {"CAM": cfg.cams.multi_scale}
    rows = [
        (
            name,
            cfg.threshold.split,
            name.endswith("CRF"),
            looks.get(name, own.inference.multi_scale),
        )
        for name in masks
    ]


include: "results.smk"


if cfg.classifier is not None:

    use rule train as asdt_train_classifier with:
        wildcard_constraints:
            key=only(classifier),


use rule train as asdt_train with:
    wildcard_constraints:
        key=only(teaching),


use rule infer_cams as asdt_cams with:
    wildcard_constraints:
        key=only(cams),


if cfg.threshold is not None:

    use rule search_threshold as asdt_search_threshold with:
        wildcard_constraints:
            key=only(threshold),


use rule label_scores as asdt_label with:
    wildcard_constraints:
        key=only(cam_masks, raw_masks),


use rule infer_scores as asdt_score with:
    wildcard_constraints:
        key=only(pseudo_scores),


if own.crf is not None:

    use rule refine_crf as asdt_refine_crf with:
        wildcard_constraints:
            key=only(pseudo_masks),


if cfg.segmenter is not None:

    use rule train as asdt_train_segmenter with:
        wildcard_constraints:
            key=only(segmenter),
