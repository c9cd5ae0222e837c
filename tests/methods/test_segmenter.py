import math

import pytest
import torch

from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.methods.losses import reduce_mask, segmentation_loss
from pipeline.methods.segmenter import Settings, build
from pipeline.nets.decoders import upsample

CLASSES = ClassTable(names=("background", "disc", "square"), ignore=200)
NETWORK = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv2")


def _objective(**settings):
    torch.manual_seed(0)
    return build(Settings(network=NETWORK, **settings), CLASSES, None, {})


def _slow_loss(logits, mask, ignore):
    total, count = 0.0, 0
    for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in mask.shape)).tolist():
        label = mask[b, y, x].item()
        if label != ignore:
            scores = logits[b, :, y, x].double().tolist()
            total += math.log(sum(math.exp(score) for score in scores)) - scores[label]
            count += 1
    return total / count


def test_loss_equals_a_slow_mean_over_labelled_pixels():
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 5, 4) * 3, torch.randint(0, 3, (2, 5, 4))
    mask[0, :3], mask[1, 0, 0] = 200, 200
    loss = segmentation_loss(logits, mask, 200)
    assert loss.item() == pytest.approx(_slow_loss(logits, mask, 200), rel=1e-5)


def test_a_batch_without_labels_costs_nothing_and_gives_zero_gradients():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 2, 2), 255), 255)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("resolution", ["image", "decoder"])
def test_loss_resolution(resolution):
    objective = _objective(loss_resolution=resolution).eval()
    batch = {"image": torch.randn(1, 3, 64, 48), "mask": torch.randint(0, 3, (1, 64, 48))}
    batch["mask"][:, :20] = CLASSES.ignore
    loss = objective.training_step(batch, 0)["segmentation"].item()
    logits, mask = objective.export()(batch["image"]), batch["mask"]
    if resolution == "image":
        logits = upsample(logits, (64, 48))
    else:
        mask = mask[:, 8::16, 8::16]
    assert loss == pytest.approx(_slow_loss(logits.detach(), mask, CLASSES.ignore), rel=1e-5)


def test_reduced_masks_hold_only_values_of_the_mask():
    mask = torch.tensor([[[0, 1], [2, 255]]]).repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(reduce_mask(mask, (2, 2)), torch.tensor([[[0, 1], [2, 255]]]))


def test_every_trainable_parameter_is_in_one_group_and_new_layers_learn_faster():
    objective = _objective(lr_scale=3.0)
    groups = objective.parameter_groups()
    assert [group.lr_scale for group in groups] == [1.0, 3.0]
    decoder = {id(p) for p in objective.network.decoder.parameters()}
    assert {id(p) for p in groups[1].parameters} == decoder
    grouped = [id(p) for group in groups for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("decoder", ["none", "largefov", "deeplabv2", "deeplabv3plus", "pspnet"])
def test_a_few_steps_learn_two_classes_with_a_narrow_decoder(decoder):
    torch.manual_seed(0)
    width = {} if decoder in ("none", "deeplabv2") else {"decoder_channels": 16}
    options = {"channels": (8, 8, 16, 16), "stem_type": "deep", "stem_width": 8}
    network = {"backbone": "resnet18", "backbone_options": options, "output_stride": 8, "decoder": decoder, **width}
    objective = build(Settings.model_validate({"network": network | {"decoder_dropout": False}}), CLASSES, None, {})
    image, mask = torch.randn(4, 3, 48, 48) * 0.1, torch.zeros(4, 48, 48, dtype=torch.int64)
    for number in range(4):
        label = 1 + number % 2
        image[number, label, 12:36, 12:36] += 2
        mask[number, 12:36, 12:36] = label
    optimiser = torch.optim.SGD(objective.parameters(), 0.05, momentum=0.9)
    for step in range(80):
        loss = sum(objective.training_step({"image": image, "mask": mask}, step).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        found = upsample(objective.train().export()(image), (48, 48)).argmax(1)
    assert (found == mask).float().mean() > 0.93


@pytest.mark.parametrize("decoder", ["deeplabv3plus", "pspnet"])
def test_micro_batches_of_one_are_refused_where_batch_norm_cannot_work(decoder):
    settings = {"network": {"backbone": "mobilenetv2_035", "decoder": decoder}}
    single = {"training": {"batch_size": 4, "accumulate": 4}}
    with pytest.raises(ValueError, match="cannot learn from micro-batches of 1; found batch_size 4 in 4 parts"):
        Settings.model_validate(settings | single)
    Settings.model_validate(settings | {"training": {"batch_size": 4, "accumulate": 2}})
    if decoder == "deeplabv3plus":
        settings["network"] |= {"decoder_pooling": False}
        network = build(Settings.model_validate(settings | single), CLASSES, None, {}).train().export()
        assert network(torch.rand(1, 3, 64, 64)).isfinite().all()
