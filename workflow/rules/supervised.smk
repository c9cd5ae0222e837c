"""Method `supervised`: true masks -> segmenter. What the methods with cheap labels are held against."""


include: "data.smk"


segmenter = stage(
    "train_segmenter",
    "train",
    train_settings("segmenter", cfg.segmenter, cfg.split),
    {"manifest": manifest, "masks": {"mask": truth["masks"]}},
    modules=["pipeline.methods.segmenter"],
    **weight_sources(cfg.segmenter),
)

networks = {"segmenter": segmenter}
masks, rows = {}, []
shown = {"curves": {"segmenter": segmenter["curves"]}}


include: "results.smk"


use rule train as supervised_train_segmenter with:
    wildcard_constraints:
        key=only(segmenter),
