"""Where every method starts: the manifest and the true masks."""

scenes = {}
if cfg.data.source == "scenes":
    generated = stage("scenes", "generate_scenes", cfg.data.scenes)
    scenes = {"folder": generated["folder"]}

    use rule generate_scenes as data_generate_scenes with:
        wildcard_constraints:
            key=only(generated),


data = stage(
    "data", "import_data", cfg.data.of_images, scenes, **data_sources("images")
)
manifest = data["manifest"]


use rule import_data as data_import with:
    wildcard_constraints:
        key=only(data),


if cfg.data.masks is not None:
    truth = stage(
        "truth",
        "import_truth",
        cfg.data,
        {"manifest": manifest, **scenes},
        **data_sources("masks"),
    )

    use rule import_truth as data_truth with:
        wildcard_constraints:
            key=only(truth),
