"""Names of the files each kind of stage writes."""

STAGE_FILES: dict[str, dict[str, str]] = {
    "generate_scenes": {"folder": "scenes"},
    "import_data": {"manifest": "manifest.parquet"},
    "add_images": {"manifest": "manifest.parquet"},
    "import_truth": {"masks": "masks.h5"},
    "import_boxes": {"boxes": "boxes.parquet"},
    "import_labels": {"masks": "masks.h5"},
    "train": {"weights": "weights.safetensors", "curves": "curves.csv"},
    "infer_cams": {"scores": "scores.h5"},
    "infer_scores": {"scores": "scores.h5"},
    "search_threshold": {"threshold": "threshold.json"},
    "label_scores": {"masks": "masks.h5"},
    "label_irn": {"masks": "masks.h5"},
    "walk_irn": {"scores": "scores.h5"},
    "refine_par": {"scores": "scores.h5"},
    "refine_crf": {"masks": "masks.h5"},
    "mark_confidence": {"masks": "masks.h5"},
    "evaluate": {
        "metrics": "metrics.json",
        "csv": "metrics.csv",
        "table": "table.md",
        "images": "images.parquet",
    },
    "propose_grabcut": {"masks": "masks.h5"},
    "propose_groups": {"masks": "masks.h5"},
    "propose_mcg": {"masks": "masks.h5"},
    "fuse_proposals": {"masks": "masks.h5"},
    "pick_labelled": {"manifest": "manifest.parquet", "masks": "masks.h5"},
    "join_sets": {"manifest": "manifest.parquet", "masks": "masks.h5"},
    "choose_masks": {"masks": "masks.h5", "choice": "choice.json"},
    "report": {"page": "index.html", "sheet": "sheet.jpg"},
}
"""Kind of stage -> output name -> file name in the stage's folder."""

SHARDED = frozenset(
    {
        "infer_cams",
        "infer_scores",
        "refine_par",
        "refine_crf",
        "label_irn",
        "walk_irn",
        "propose_grabcut",
        "propose_groups",
        "propose_mcg",
    }
)
"""Kinds whose one output store is written in shards and merged."""

SPEC = "stage.json"
PROVENANCE = "provenance.json"
SCRATCH = "scratch"
LOG = "log.txt"
SET_ASIDE = "set_aside.csv"


def shard_file(folder: str, shard: str) -> str:
    """Store of one shard; ``shard`` reads ``<index>-of-<count>``."""
    return f"{folder}/shards/{shard}.h5"
