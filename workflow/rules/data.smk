"""Where every method starts: the manifest and the true masks."""

scenes = {}
if cfg.data.source == "scenes":
    generated = stage("scenes", "generate_scenes", cfg.data.scenes)
    scenes = {"folder": generated["folder"]}

    use rule generate_scenes as data_generate_scenes with:
        output:
            folder=directory(generated["folder"].path),
            provenance=generated.provenance,
        log:
            generated.log,
        params:
            spec=generated.spec,


data = stage("data", "import_data", cfg.data, scenes, **data_sources("images"))


use rule import_data as data_import with:
    input:
        ancient(data.input_files),
    output:
        **stage_outputs(data),
    log:
        data.log,
    params:
        spec=data.spec,


if cfg.data.masks is not None:
    truth = stage(
        "truth",
        "import_truth",
        cfg.data,
        {"manifest": data["manifest"], **scenes},
        **data_sources("masks"),
    )

    use rule import_truth as data_truth with:
        input:
            ancient(truth.input_files),
        output:
            **stage_outputs(truth),
        log:
            truth.log,
        params:
            spec=truth.spec,
