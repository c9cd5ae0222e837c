import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainingSettings
from pipeline.data.samples import Normalisation, TrainingSamples
from pipeline.errors import PseudomaskError
from pipeline.methods.objective import Objective, ParameterGroup
from pipeline.nets.ema import MovingAverage
from pipeline.training.loop import Trainer
from pipeline.training.schedule import learning_rate


class Toy(Objective):
    """A small network with batch norm and dropout, so that hidden state and randomness would show."""

    fields = frozenset({"tags"})

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)
        self.poison = -1

    def parameter_groups(self):
        return [ParameterGroup(list(self.body.parameters())), ParameterGroup(list(self.head.parameters()), 10.0, 0.0)]

    def training_step(self, batch, step):
        logits = self.head(self.body(batch["image"]).mean((2, 3)))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["tags"])
        return {"tags": loss * (float("nan") if step == self.poison else 1.0), "size": 1e-3 * logits.square().mean()}

    def export(self):
        return self.body


class KilledError(Exception):
    pass


@pytest.fixture
def manifest(tmp_path):
    records = []
    for number in range(10):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        records.append(ImageRecord(str(number), f"{number}.png", ("train",), 20, 24, (1 + number % 2,)))
    return Manifest(ClassTable(names=("background", "a", "b")), tuple(records))


def train(manifest, folder, kill_at=None, poison=-1, workers=0, nodes=1, objective=Toy, **changes):
    augment = {"long_side": [20, 30], "crop": 16, "brightness": 0.3}
    settings = TrainingSettings.model_validate(
        {"steps": 9, "batch_size": 4, "log_every": 4, "augment": augment, **changes}
    )
    runtime = RuntimeSettings(device="cpu", threads=1, workers=workers, nodes=nodes, checkpoint_seconds=0)
    root = Path(folder).parent
    samples = TrainingSamples(
        manifest, root, Toy.fields, {}, settings.augment, Normalisation((0.5,) * 3, (0.5,) * 3), seed=3
    )
    torch.manual_seed(0)
    toy = objective()
    toy.poison = poison
    if kill_at is not None:
        toy.on_step_end = lambda step: _die(step == kill_at)
    trainer = Trainer(toy, samples, settings, 3, Job("toy", "k", runtime, Path(folder)))
    trainer.fit(Path(folder) / "curves.csv")
    return {name: tensor.clone() for name, tensor in toy.state_dict().items()} | dict(trainer.exported())


def _die(now):
    if now:
        raise KilledError


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kill_at", [0, 3, 4, 8])
def test_resuming_after_a_kill_gives_the_same_bits(manifest, tmp_path, kill_at):
    whole = train(manifest, tmp_path / "whole", ema=0.9, accumulate=2)
    with pytest.raises(KilledError):
        train(manifest, tmp_path / "killed", kill_at, ema=0.9, accumulate=2)
    assert same(train(manifest, tmp_path / "killed", ema=0.9, accumulate=2), whole)
    assert (tmp_path / "killed/curves.csv").read_bytes() == (tmp_path / "whole/curves.csv").read_bytes()


def test_workers_change_nothing(manifest, tmp_path):
    alone = train(manifest, tmp_path / "0")
    assert same(train(manifest, tmp_path / "2", workers=2), alone)


def test_the_curve_has_the_means_and_the_last_step(manifest, tmp_path):
    rows, each = [], []
    for name, found, every in (("a", rows, 4), ("each", each, 1)):
        train(manifest, tmp_path / name, log_every=every)
        with (tmp_path / name / "curves.csv").open() as stream:
            found += csv.DictReader(stream)
    assert [int(row["step"]) for row in rows] == [4, 8, 9]
    assert set(rows[0]) == {"step", "lr", "tags", "size"}
    for row, steps in zip(rows, (each[:4], each[4:8], each[8:]), strict=True):
        for part in ("tags", "size"):
            assert float(row[part]) == pytest.approx(sum(float(step[part]) for step in steps) / len(steps), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_with_step_and_parts(manifest, tmp_path):
    with pytest.raises(PseudomaskError, match=r"loss of step 5 is not finite \(tags nan, size .*learning rate"):
        train(manifest, tmp_path / "a", poison=5)


def test_a_batch_that_cannot_be_split_is_refused(manifest, tmp_path):
    with pytest.raises(ValueError, match="no multiple of accumulate 3"):
        train(manifest, tmp_path / "a", accumulate=3)


def test_several_nodes_need_a_process_on_each(manifest, tmp_path):
    with pytest.raises(PseudomaskError, match=r"runtime.nodes is 2, .*--profile slurm"):
        train(manifest, tmp_path / "a", nodes=2)


def test_the_schedule_is_polynomial_after_the_warm_up():
    settings = TrainingSettings.model_validate(
        {"steps": 10, "optimiser": {"lr": 2.0}, "schedule": {"power": 0.9, "warmup_steps": 4, "min_lr": 0.5}}
    )
    expected = [max(2 * (1 - t / 10) ** 0.9 * min(1, (t + 1) / 4), 0.5) for t in range(10)]
    assert [learning_rate(settings, step) for step in range(10)] == pytest.approx(expected)


def test_a_longer_schedule_does_not_reach_its_end():
    settings = TrainingSettings.model_validate({"steps": 10, "schedule": {"power": 1.0, "length": 20}})
    assert learning_rate(settings, 9) == pytest.approx(0.01 * (1 - 9 / 20))
    with pytest.raises(ValueError, match="5 is shorter"):
        TrainingSettings.model_validate({"steps": 10, "schedule": {"length": 5}})


def test_the_moving_average_starts_as_a_plain_one():
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, 0.75)
    seen = []
    expected = 0.0
    for update in range(1, 8):
        with torch.no_grad():
            network.weight.fill_(update**2)
        average.update(network)
        keep = min(1 - 1 / update, 0.75)
        expected = keep * expected + (1 - keep) * update**2
        seen.append(float(average.average.weight))
        assert seen[-1] == pytest.approx(expected)
    assert seen[0] == 1.0
    assert seen[1] == pytest.approx(2.5)


def test_parts_may_set_in_later_and_their_mean_counts_only_their_steps(manifest, tmp_path):
    class Late(Toy):
        def training_step(self, batch, step):
            parts = super().training_step(batch, step)
            return parts | ({"late": parts["size"] * 0 + 3.0} if step >= 3 else {})

    (tmp_path / "late").mkdir()
    train(manifest, tmp_path / "late", objective=Late, steps=6, log_every=2)
    with (tmp_path / "late/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["late"] for row in rows] == ["", "3.0", "3.0"]
    assert all(row["tags"] for row in rows)
