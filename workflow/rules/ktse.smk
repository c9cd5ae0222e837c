"""Method `ktse`: tags -> classifier with erasing -> activation maps -> IRN -> masks and trust -> two co-trained networks."""


include: "data.smk"


classifier = stage(
    "train_classifier",
    "train",
    train_settings("ktse", cfg.classifier, cfg.cams.split),
    {"manifest": manifest},
    modules=["pipeline.methods.ktse"],
    **weight_sources(cfg.classifier),
)


include: "pseudo_masks.smk"


final = "segmenter" if cfg.cotraining is None else "cotraining"
given = {"mask": learned}
if cfg.cotraining is not None:
    trust = stage(
        "confidence",
        "mark_confidence",
        ConfidenceStage(**cfg.confidence.model_dump(), background=to_masks.background),
        {**maps, **found, "masks": learned},
    )
    given["confidence"] = trust["masks"]

    use rule mark_confidence as ktse_confidence with:
        wildcard_constraints:
            key=only(trust),


segmenter = stage(
    "train_segmenter",
    "train",
    train_settings(final, getattr(cfg, final), cfg.cams.split),
    {"manifest": manifest, "masks": given},
    modules=[f"pipeline.methods.{final}"],
    **weight_sources(getattr(cfg, final)),
)
networks = {"segmenter": (segmenter, cfg.branch)}
shown["curves"]["segmenter"] = segmenter["curves"]


include: "results.smk"


use rule train as ktse_train_classifier with:
    wildcard_constraints:
        key=only(classifier),


use rule train as ktse_train_segmenter with:
    wildcard_constraints:
        key=only(segmenter),
