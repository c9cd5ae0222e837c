"""What a GPU computes is what the CPU computes; skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.classes import ClassTable
from pipeline.config.crf import CrfSettings
from pipeline.config.load import load_run, read_yaml
from pipeline.config.refine import ParSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainStage
from pipeline.crf import torch_backend
from pipeline.crf.loss import DenseEnergyLoss
from pipeline.methods.described import objective_name
from pipeline.refine.par import refine_par
from pipeline.refine.random_walk import random_walk
from pipeline.stages.trial import late_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = ClassTable(names=("background", "disc", "square", "star"))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_dense_crf(rng, monkeypatch):
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((40, 60), (33, 50))]
    energies = [[rng.random((4, *image.shape[:2]), np.float32)] for image in images]
    terms = CrfSettings(preset="psa").resolved
    found = torch_backend.infer_batch(images, energies, terms, 5)
    monkeypatch.setattr(torch_backend, "default_device", lambda: torch.device("cpu"))
    expected = torch_backend.infer_batch(images, energies, terms, 5)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)


@pytest.mark.parametrize("gated", [False, True])
def test_crf_loss_and_its_gradient(rng, gated):
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 32, 40)).astype(np.float32))
    logits = torch.from_numpy(rng.normal(size=(2, 5, 32, 40)))
    labels = torch.from_numpy(rng.choice([0, 3, 255], (2, 32, 40))) if gated else None
    found = []
    for device in ("cpu", "cuda"):
        leaf = logits.clone().to(device).requires_grad_()
        given = None if labels is None else labels.to(device)
        value = DenseEnergyLoss(1, sxy=20, srgb=40)(images.to(device), leaf.softmax(1), labels=given)
        value.backward()
        found.append((value.item(), leaf.grad.cpu()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-5)


def test_random_walk(rng):
    maps, edge = torch.from_numpy(rng.random((3, 20, 30), np.float32)), torch.from_numpy(rng.random((20, 30)))
    expected = random_walk(maps, edge, 5, 10.0, 8)
    found = random_walk(maps.cuda(), edge.cuda(), 5, 10.0, 8)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-6)


def test_par(rng):
    image = torch.from_numpy(rng.random((2, 3, 30, 40), np.float32) * 255)
    scores = torch.from_numpy(rng.random((2, 4, 30, 40), np.float32))
    settings = ParSettings()
    found = refine_par(image.cuda(), scores.cuda(), settings)
    torch.testing.assert_close(found.cpu(), refine_par(image, scores, settings), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("demo/*.yaml")))
def test_the_last_steps_of_every_training(tmp_path, config):
    """All losses have set in. Dropout and erasing draw other numbers on a GPU: compared is which losses there are."""
    run = load_run(read_yaml(CONFIGS / "demo" / config), CONFIGS)
    for number, (_, settings) in enumerate(run.trained()):
        stage = TrainStage(
            objective=objective_name(settings), split="train", seed=0, settings=settings.model_dump(mode="json")
        )
        names = []
        for place, device in enumerate(("cpu", "cuda")):
            folder = tmp_path / f"{number}-{place}"
            folder.mkdir()
            runtime = RuntimeSettings(device=device, threads=2, workers=0)
            trainer = late_trainer(stage, run.data.classes or CLASSES, runtime, folder, 2, (96, 128))
            assert trainer.device.type == device
            trainer.fit(folder / "curves.csv")  # refuses what is not finite
            names.append((folder / "curves.csv").read_text().splitlines()[0])
        assert names[0] == names[1]
