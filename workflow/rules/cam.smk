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


include: "pseudo_masks.smk"


networks = {}
if cfg.segmenter is not None:
    networks["segmenter"] = stage(
        "train_segmenter",
        "train",
        train_settings("segmenter", cfg.segmenter, cfg.cams.split),
        {"manifest": manifest, "masks": {"mask": learned}},
        modules=["pipeline.methods.segmenter"],
        **weight_sources(cfg.segmenter),
    )
    shown["curves"]["segmenter"] = networks["segmenter"]["curves"]


include: "results.smk"


use rule train as cam_train_classifier with:
    wildcard_constraints:
        key=only(classifier),


if networks:

    use rule train as cam_train_segmenter with:
        wildcard_constraints:
            key=only(networks["segmenter"]),
