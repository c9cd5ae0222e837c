"""Method `cam`: tags -> classifier -> activation maps -> PAR -> dense CRF -> segmenter.

The baseline of the field (PSA and IRN without their refinement networks).
"""


include: "data.smk"


classifier = stage(
    "train_classifier",
    "train",
    train_settings("classifier", cfg.classifier, cfg.cams.split),
    {"manifest": manifest},
    modules=["pipeline.methods.classifier"],
    **weight_sources(cfg.classifier),
)
cams = stage(
    "infer_cams",
    "infer_cams",
    cfg.cams,
    {"manifest": manifest, "weights": classifier["weights"]},
)
maps = {"manifest": manifest, "scores": cams["scores"]}
if cfg.threshold is not None:
    threshold = stage(
        "search_threshold",
        "search_threshold",
        cfg.threshold,
        {**maps, "truth": truth["masks"]},
    )
    maps["threshold"] = threshold["threshold"]
cam_masks = stage("label_cams", "label_scores", cfg.labels, maps)
if cfg.refine.par is not None:
    par = stage("refine_par", "refine_par", cfg.refine.par, maps)
    maps = {"manifest": manifest, "scores": par["scores"]}
pseudo_masks = stage("refine_crf", "refine_crf", cfg.refine.crf, maps)
segmenter = stage(
    "train_segmenter",
    "train",
    train_settings("segmenter", cfg.segmenter, cfg.cams.split),
    {"manifest": manifest, "masks": {"mask": pseudo_masks["masks"]}},
    modules=["pipeline.methods.segmenter"],
    **weight_sources(cfg.segmenter),
)

networks = {"segmenter": segmenter}
masks = {"CAM": cam_masks["masks"], "pseudo-mask": pseudo_masks["masks"]}
rows = []
shown = {
    "scores": cams["scores"],
    "curves": {"classifier": classifier["curves"], "segmenter": segmenter["curves"]},
}
if cfg.threshold is not None:
    shown["threshold"] = threshold["threshold"]
    rows = [
        ("CAM", cfg.threshold.split, False, cfg.cams.multi_scale),
        ("pseudo-mask", cfg.threshold.split, True, cfg.cams.multi_scale),
    ]


include: "results.smk"


use rule train as cam_train_classifier with:
    wildcard_constraints:
        key=only(classifier),


use rule infer_cams as cam_infer_cams with:
    wildcard_constraints:
        key=only(cams),


if cfg.threshold is not None:

    use rule search_threshold as cam_search_threshold with:
        wildcard_constraints:
            key=only(threshold),


use rule label_scores as cam_label_cams with:
    wildcard_constraints:
        key=only(cam_masks),


if cfg.refine.par is not None:

    use rule refine_par as cam_refine_par with:
        wildcard_constraints:
            key=only(par),


use rule refine_crf as cam_refine_crf with:
    wildcard_constraints:
        key=only(pseudo_masks),


use rule train as cam_train_segmenter with:
    wildcard_constraints:
        key=only(segmenter),
