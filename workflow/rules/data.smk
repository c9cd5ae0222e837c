"""Where every method starts: the manifest and the true masks."""

from pipeline.data.importing import source_files
from pipeline.data.images import data_root

ROOT = data_root(cfg.runtime)


def sources(what):
    """The user's files behind the manifest or the masks, whose content enters the key."""
    if cfg.data.source == "scenes":
        return {}
    return {"sources": build(source_files, cfg.data, ROOT, what), "source_root": ROOT}


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


data = stage("data", "import_data", cfg.data, scenes, **sources("images"))
truth = stage(
    "truth",
    "import_truth",
    cfg.data,
    {"manifest": data["manifest"], **scenes},
    **sources("masks"),
)


use rule import_data as data_import with:
    input:
        ancient(data.input_files),
    output:
        **stage_outputs(data),
    log:
        data.log,
    params:
        spec=data.spec,


use rule import_truth as data_truth with:
    input:
        ancient(truth.input_files),
    output:
        **stage_outputs(truth),
    log:
        truth.log,
    params:
        spec=truth.spec,
