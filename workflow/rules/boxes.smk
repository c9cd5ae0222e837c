"""The boxes of the data set, for methods and labels that need them. Included after data.smk."""

boxes = stage(
    "boxes",
    "import_boxes",
    cfg.data,
    {"manifest": manifest, **scenes},
    **data_sources("boxes"),
)


use rule import_boxes as data_boxes with:
    wildcard_constraints:
        key=only(boxes),
