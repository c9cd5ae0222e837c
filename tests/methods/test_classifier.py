import math

import pytest
import torch
from pydantic import ValidationError

from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.methods.classifier import Settings, build

CLASSES = ClassTable(names=("background", "disc", "square", "star"))
NETWORK = NetworkSettings(backbone="mobilenetv2_035")


def _objective(**settings):
    torch.manual_seed(0)
    return build(Settings(network=NETWORK, **settings), CLASSES, None, {})


def test_loss_equals_binary_cross_entropy_in_double_precision():
    objective = _objective().eval()
    batch = {"image": torch.randn(2, 3, 32, 32), "tags": torch.tensor([[1.0, 0, 0], [0, 1, 1]])}
    logits, tags = objective.export()(batch["image"]).tolist(), batch["tags"].tolist()
    total = 0.0
    for row, truth in zip(logits, tags, strict=True):
        for logit, tag in zip(row, truth, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            total -= tag * math.log(probability) + (1 - tag) * math.log(1 - probability)
    assert objective.training_step(batch, 0)["classification"].item() == pytest.approx(total / 6, rel=1e-5)
    assert objective.fields == {"tags"}


def test_every_trainable_parameter_is_in_one_group_and_new_layers_learn_faster():
    objective = _objective(lr_scale=7.0)
    groups = objective.parameter_groups()
    assert [group.lr_scale for group in groups] == [1.0, 7.0]
    assert [id(p) for p in groups[1].parameters] == [id(objective.network.classifier.weight)]
    grouped = [id(p) for group in groups for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in objective.parameters() if p.requires_grad)


def test_frozen_parameters_are_left_out():
    frozen = build(Settings(network=NETWORK.model_copy(update={"batch_norm": "frozen"})), CLASSES, None, {})
    assert all(p.requires_grad for group in frozen.parameter_groups() for p in group.parameters)
    assert len(frozen.parameter_groups()[0].parameters) < len(_objective().parameter_groups()[0].parameters)


def test_a_decoder_is_refused():
    with pytest.raises(ValidationError, match="a classifier has no decoder; found 'pspnet'"):
        Settings(network=NetworkSettings(decoder="pspnet"))
