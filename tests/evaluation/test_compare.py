import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.artifacts.counts import ImageCounts, read_counts
from pipeline.cli import app
from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Protocol
from pipeline.errors import PseudomaskError
from pipeline.evaluation.compare import FinishedRun, differences, grouped, joined_rows
from pipeline.evaluation.measure import measure

CLASSES = ClassTable(names=("background", "a", "b"))
IDS = [f"image {number}" for number in range(30)]


def masks(flips, seed):
    """Random true masks, and predictions wrong on a share of the pixels."""
    draw = np.random.default_rng(0)
    truth = [draw.integers(0, 3, (12, 10)).astype(np.uint8) for _ in IDS]
    draw = np.random.default_rng(seed)
    wrong = [np.where(draw.random(mask.shape) < flips, (mask + 1) % 3, mask).astype(np.uint8) for mask in truth]
    return list(zip(truth, wrong, strict=True))


def finished(folder, name, seed, flips, order=1):
    pairs = masks(flips, seed + round(1000 * flips))[::order]
    found = measure(pairs, CLASSES, Protocol())
    counts = ImageCounts()
    counts.add(("segmenter", "val", "full"), IDS[::order], found.per_image)
    run = folder / name
    (run / "evaluation").mkdir(parents=True)
    counts.write(run / "evaluation/images.parquet")
    entry = {"name": "segmenter", "split": "val", "images": 30, "crf": False, "seed": seed, "protocol": "full"}
    entry |= {"supervision": "tags", "mean_iou": found.mean_iou(), "subsets": {}, "coverage": 1.0}
    metrics = {"classes": list(CLASSES.names), "entries": [entry]}
    (run / "evaluation/metrics.json").write_text(json.dumps(metrics))
    (run / "config.yaml").write_text(yaml.safe_dump({"run": name, "seed": seed, "flips": flips, "runtime": {}}))
    return run


def test_counts_come_back_and_add_up(tmp_path):
    found = measure(masks(0.3, 1), CLASSES, Protocol())
    assert found.images == len(IDS)
    dense = np.zeros((len(IDS), 3, 3), np.int64)
    dense[found.per_image[:, 0], found.per_image[:, 1]] = found.per_image[:, 2:]
    np.testing.assert_array_equal(dense.sum(0)[:, 2], np.diag(found.confusion))
    np.testing.assert_array_equal(dense.sum(0)[:, 0], found.confusion.sum(1))
    writer = ImageCounts()
    for name in ("one", "two"):
        writer.add((name, "val", "full"), IDS, found.per_image)
    writer.write(tmp_path / "images.parquet")
    for name in ("one", "two"):
        ids, counts = read_counts(tmp_path / "images.parquet", 3)[name, "val", "full"]
        assert ids == IDS
        np.testing.assert_array_equal(counts, dense)


def test_runs_that_differ_by_seed_alone_are_joined(tmp_path):
    runs = [FinishedRun.read(finished(tmp_path, f"r{n}", n, flips)) for n, flips in enumerate((0.2, 0.2, 0.4))]
    groups = grouped(runs)
    assert [[run.folder.name for run in group] for group in groups] == [["r0", "r1"], ["r2"]]
    (row,) = joined_rows(groups[0])
    values = [run.metrics["entries"][0]["mean_iou"] for run in groups[0]]
    assert row["mean_iou"] == pytest.approx(np.mean(values))
    assert row["deviation"] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))
    assert row["seed"] == "0, 1"
    assert joined_rows(groups[1])[0]["deviation"] is None


def test_the_difference_and_its_interval_equal_a_slow_reference(tmp_path):
    base = [FinishedRun.read(finished(tmp_path, f"b{n}", n, 0.3)) for n in range(2)]
    other = [FinishedRun.read(finished(tmp_path, "o", 5, 0.25, order=-1))]
    (found,) = differences(base, other)

    def score(runs, chosen):
        means = []
        for run in runs:
            ids, counts = run.counts["segmenter", "val", "full"]
            ious = []
            for label in range(3):
                t, p, b = (sum(int(counts[ids.index(i), label, k]) for i in chosen) for k in range(3))
                ious.append(b / (t + p - b))
            means.append(sum(ious) / 3)
        return sum(means) / len(means)

    assert found.mean == pytest.approx(score(other, IDS) - score(base, IDS))
    draws = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), 1000)
    changes = []
    for draw in draws:
        chosen = [image_id for image_id, times in zip(IDS, draw, strict=True) for _ in range(times)]
        changes.append(score(other, chosen) - score(base, chosen))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(changes, (0.025, 0.975))))
    image_id, change = found.disagree[0]
    assert change == pytest.approx(score(other, [image_id]) - score(base, [image_id]))
    assert abs(change) == max(abs(score(other, [i]) - score(base, [i])) for i in IDS)


def test_rows_on_other_images_are_not_compared(tmp_path):
    base, other = (FinishedRun.read(finished(tmp_path, name, 0, flips)) for name, flips in (("b", 0.1), ("o", 0.2)))
    ids, counts = other.counts["segmenter", "val", "full"]
    other.counts["segmenter", "val", "full"] = (["another", *ids[1:]], counts)
    assert differences([base], [other]) == []


def test_the_command_says_it_all(tmp_path):
    runs = [str(finished(tmp_path, name, 0, flips)) for name, flips in (("b", 0.4), ("o", 0.1))]
    (tmp_path / "table.md").write_text("an earlier comparison")
    done = CliRunner().invoke(app, ["compare", *runs, str(tmp_path / "table.md")])
    assert done.exit_code == 0, done.output
    assert "o minus b" in done.output
    assert "on 30 images; most on image" in done.output
    assert "- b: not known" in done.output
    weights = {"weights": f"{tmp_path.name}/b/train/weights.safetensors"}
    for name, seconds, before in (("train", 600, {}), ("evaluation", 130, weights)):
        folder = tmp_path / "b" / name
        folder.mkdir(exist_ok=True)
        (folder / "stage.json").write_text(json.dumps({"name": name, "kind": name, "inputs": before}))
        facts = {"wall_seconds": seconds, "device": "cpu", "shards": [{"wall_seconds": 60, "device": "A100"}]}
        (folder / "provenance.json").write_text(json.dumps(facts))
    done = CliRunner().invoke(app, ["compare", *runs])
    assert "- b: 14 min on A100; train 11 min, evaluation 3 min\n- o: not known" in done.output
    (tmp_path / "b/evaluation/metrics.json").unlink()
    done = CliRunner().invoke(app, ["compare", *runs])
    assert isinstance(done.exception, PseudomaskError)
    assert "has no evaluation/metrics.json" in str(done.exception)
