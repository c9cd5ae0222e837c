"""Method `cam`: tags -> classifier -> activation maps -> PAR -> dense CRF -> segmenter.

The baseline of the field (PSA and IRN; `refine.irn` adds the refinement network of IRN).
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
found = {}
if cfg.threshold is not None:
    threshold = stage(
        "search_threshold",
        "search_threshold",
        cfg.threshold,
        {**maps, "truth": truth["masks"]},
    )
    found = {"threshold": threshold["threshold"]}
cam_masks = stage("label_cams", "label_scores", cfg.labels, {**maps, **found})
to_masks = cfg.labels if cfg.refine.crf is None else cfg.refine.crf
if cfg.refine.par is not None:
    par = stage("refine_par", "refine_par", cfg.refine.par, {**maps, **found})
    maps, found = {"manifest": manifest, "scores": par["scores"]}, {}
if cfg.refine.irn is not None:
    irn = cfg.refine.irn
    irn_labels = stage("irn_labels", "label_irn", irn.labels, maps)
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
        {**maps, "weights": irn_network["weights"]},
    )
    maps, found = {"manifest": manifest, "scores": walk["scores"]}, {}
    to_masks = to_masks.model_copy(
        update={"background": to_masks.background.at(irn.threshold)}
    )
pseudo_masks = stage(
    "pseudo_masks",
    "label_scores" if cfg.refine.crf is None else "refine_crf",
    to_masks,
    {**maps, **found},
)
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
        (
            "pseudo-mask",
            cfg.threshold.split,
            cfg.refine.crf is not None,
            cfg.cams.multi_scale,
        ),
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


if cfg.refine.crf is not None:

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
