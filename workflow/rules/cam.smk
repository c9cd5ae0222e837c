"""Method `cam`: tags -> classifier -> activation maps -> PAR -> dense CRF -> segmenter.

The baseline of the field (PSA and IRN; `refine.irn` adds the refinement network of IRN).
"""


include: "data.smk"


def maps_alone(inputs):
    """Activation maps without a threshold found for them."""
    return {name: inputs[name] for name in ("manifest", "scores")}


def with_threshold(settings, threshold):
    """Settings with another background score."""
    background = settings.background.model_copy(
        update={"threshold": threshold, "kind": "constant"}
    )
    return settings.model_copy(update={"background": background})


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
labels, crf = cfg.labels, cfg.refine.crf
if cfg.refine.irn is not None:
    irn = cfg.refine.irn
    irn_labels = stage("irn_labels", "label_irn", irn.labels, maps_alone(maps))
    irn_network = stage(
        "train_irn",
        "train",
        train_settings("irn", irn.model, cfg.cams.split),
        {
            "manifest": manifest,
            "masks": {"mask": irn_labels["masks"]},
            "networks": (
                {"classifier": classifier["weights"]}
                if irn.model.start == "classifier"
                else {}
            ),
        },
        modules=["pipeline.methods.irn"],
        **weight_sources(irn.model),
    )
    walk = stage(
        "irn_walk",
        "walk_irn",
        irn.walk,
        {**maps_alone(maps), "weights": irn_network["weights"]},
    )
    maps = {"manifest": manifest, "scores": walk["scores"]}
    labels, crf = (
        settings and with_threshold(settings, irn.threshold)
        for settings in (labels, crf)
    )
refined_by = "label_scores" if crf is None else "refine_crf"
pseudo_masks = stage("pseudo_masks", refined_by, labels if crf is None else crf, maps)
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
        ("pseudo-mask", cfg.threshold.split, crf is not None, cfg.cams.multi_scale),
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


if cfg.refine.irn is not None:

    use rule label_irn as cam_irn_labels with:
        wildcard_constraints:
            key=only(irn_labels),

    use rule train as cam_train_irn with:
        wildcard_constraints:
            key=only(irn_network),

    use rule walk_irn as cam_irn_walk with:
        wildcard_constraints:
            key=only(walk),


if crf is not None:

    use rule refine_crf as cam_refine_crf with:
        wildcard_constraints:
            key=only(pseudo_masks),

else:

    use rule label_scores as cam_label_refined with:
        wildcard_constraints:
            key=only(pseudo_masks),


use rule train as cam_train_segmenter with:
    wildcard_constraints:
        key=only(segmenter),
