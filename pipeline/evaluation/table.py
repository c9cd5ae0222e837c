"""Results as a table people read."""

from typing import Any


def markdown(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of ``entries`` of metrics.json; IoU in per cent, ``deviation`` and ``published`` where given."""
    published = ["published"] if any(row.get("published") is not None for row in rows) else []
    subsets = list(dict.fromkeys(name for row in rows for name in row["subsets"]))
    header = [
        "masks",
        "split",
        "images",
        "CRF",
        "seed",
        "protocol",
        "labels",
        "mIoU",
        *published,
        *(f"mIoU {name}" for name in subsets),
        "coverage",
    ]
    lines = [header]
    for row in rows:
        printed = [row.get(name) for name in published]
        means = [row["mean_iou"], *printed, *(row["subsets"].get(name) for name in subsets), row["coverage"]]
        fixed = [row["name"], row["split"], row["images"], "yes" if row["crf"] else "no", row["seed"], row["protocol"]]
        fixed.append(row["supervision"])
        cells = ["n/a" if value is None else f"{100 * value:.1f}" for value in means]
        if row.get("deviation") is not None:
            cells[0] += f" ± {100 * row['deviation']:.1f}"
        lines.append([*map(str, fixed), *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {text} |" for text in (texts[0], rule, *texts[1:])) + "\n"
