"""Further single-label images beside the data set; `manifest` holds both from here on. Included after data.smk."""

from pipeline.data.folders import folder_files

extra_images = stage(
    "extra_images",
    "add_images",
    cfg.extra,
    {"manifest": manifest},
    sources=build(folder_files, cfg.extra, ROOT),
    source_root=ROOT,
)
manifest = extra_images["manifest"]


use rule add_images as data_add_images with:
    wildcard_constraints:
        key=only(extra_images),
