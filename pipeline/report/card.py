"""A model card: what a trained network is, what it learned from, how good it is, and what to mind when sharing it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.checkpoint import load_weights
from pipeline.artifacts.layout import SPEC
from pipeline.artifacts.lineage import MadeStage, lineage
from pipeline.evaluation.table import markdown
from pipeline.report.stages import duration


def model_card(weights: Path) -> str:
    """The card of a weights file as Markdown.

    Numbers are there for a file named through ``results/<run>/<stage>``, once the run has been measured.

    Raises:
        PseudomaskError: the file is missing, damaged or has no card.
    """
    state, card = load_weights(weights)
    run = weights.absolute().parents[1]
    config = run / "config.yaml"
    made = lineage([weights], run.parents[1]) if (weights.parent / SPEC).exists() and config.exists() else []
    metrics = run / "evaluation/metrics.json"
    entries = json.loads(metrics.read_text())["entries"] if config.exists() and metrics.exists() else []
    name = run.name if config.exists() else weights.stem
    parts = [
        f"# {name}: {card['objective']}\n",
        *_network(card, sum(tensor.numel() for tensor in state.values())),
        *_data(card, made),
        *_method(card, made),
        *_numbers(entries),
        *_sharing(card),
    ]
    return "\n".join(parts)


def _network(card: dict[str, Any], parameters: int) -> Iterator[str]:
    network = card["settings"].get("network", {})
    names = ", ".join(card["classes"]["names"])
    yield "## Network\n"
    yield f"- backbone `{network.get('backbone', 'unknown')}`, {parameters:,} parameters"
    yield f"- classes: {names}"
    yield "- `pseudomask predict WEIGHTS IMAGES...` applies a segmenter, `pseudomask export` makes ONNX of it\n"


def _data(card: dict[str, Any], made: list[MadeStage]) -> Iterator[str]:
    yield "## Data\n"
    yield f"Trained on {card['images']} images of split `{card['split']}`, seed {card['seed']}.\n"
    for stage in made:
        if stage.spec["kind"] == "import_data":
            known = {
                key: value for key, value in stage.spec["settings"].items() if value is not None and key != "classes"
            }
            yield _code(known)


def _method(card: dict[str, Any], made: list[MadeStage]) -> Iterator[str]:
    yield "## Method\n"
    if made:
        yield "Stages that led to it, with the time they took:\n"
        for stage in made:
            time = "not finished" if stage.seconds is None else duration(stage.seconds)
            yield f"- {stage.name} ({stage.spec['kind']}): {time}"
        yield ""
    yield f"Settings of the training, objective `{card['objective']}`:\n"
    yield _code(card["settings"])


def _numbers(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Numbers\n"
    if entries:
        yield "IoU in per cent, measured by the run the network comes from; other rows are its earlier stages.\n"
        yield markdown(entries)
    else:
        yield "None were measured, or the file was not named through `results/RUN/STAGE/`.\n"


def _sharing(card: dict[str, Any]) -> Iterator[str]:
    start = card["settings"].get("network", {}).get("weights")
    yield "## Licence and limits\n"
    yield "- The code that trained it is under Apache-2.0. That says nothing about these weights."
    yield "- They come from the images and labels above; the terms of that data set decide what may be done with them."
    if start:
        yield f"- Training began from `{start}`, whose licence applies too."
    else:
        yield "- Training began from random weights."
    yield "- It knows only the classes above, from images like those above; anything else is taken for one of them."
    yield "- Labels were cheap ones where the method says so: outlines are less exact than those of hand-drawn masks.\n"


def _code(settings: dict[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}```\n"
