import math

import pytest
import torch

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.classes import ClassTable
from pipeline.config.mdh import HeadsSettings, LabelledSettings
from pipeline.errors import PseudomaskError
from pipeline.methods.mdh import STRONG, WEAK, Settings, build
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import load_segmenter
from pipeline.stages.pick_labelled import picked

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = {
    "backbone": "mobilenetv2_035",
    "decoder": "largefov",
    "decoder_channels": 8,
    "decoder_dropout": False,
    "head": "hidden",
}
ROLES = torch.tensor([STRONG, WEAK, STRONG | WEAK, WEAK])


def model(kind="mixed", networks=None, priors=None, start="backbone", **heads):
    heads = {"kind": kind, "strong_batch": 8, "weak_batch": 8} | heads
    torch.manual_seed(0)
    settings = Settings.model_validate(
        {
            "network": NETWORK | {"priors": priors},
            "heads": heads,
            "training": {"batch_size": HeadsSettings(**heads).images},
            "start": start,
        }
    )
    return build(settings, CLASSES, None, networks or {})


def batch(channels=3):
    torch.manual_seed(1)
    mask = torch.randint(0, 3, (4, 32, 32))
    mask[:, :5] = 255
    return {"image": torch.randn(4, channels, 32, 32), "mask": mask, "role": ROLES}


def slow_loss(logits, mask, images):
    """Mean over labelled pixels, one by one in double precision."""
    logits = upsample(logits, mask.shape[-2:]).double()
    total, count = 0.0, 0
    for position, image in enumerate(images):
        for y in range(mask.shape[1]):
            for x in range(mask.shape[2]):
                label = int(mask[image, y, x])
                if label != 255:
                    values = logits[position, :, y, x].tolist()
                    total += math.log(sum(math.exp(v) for v in values)) - values[label]
                    count += 1
    return total / count


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_each_head_learns_from_its_images_alone(weight):
    objective, given = model(weak_weight=weight), batch()
    decoder = objective.network.decoder
    features = decoder.embed(objective.network.backbone(given["image"]))
    strong, weak = [0, 2], [1, 2, 3]
    expected = {
        "strong": slow_loss(decoder.head(features[strong]), given["mask"], strong),
        "weak": weight * slow_loss(objective.weak(features[weak]), given["mask"], weak),
    }
    parts = objective.training_step(given, 0)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected, rel=1e-4)


def test_the_strong_head_takes_no_gradient_from_weak_images_and_the_extractor_from_all():
    objective, given = model().eval(), batch()
    given["image"].requires_grad_()
    objective.training_step(given, 0)["strong"].backward()
    reached = given["image"].grad.abs().sum((1, 2, 3)) > 0
    assert reached.tolist() == [True, False, True, False]
    objective.training_step(given, 0)["weak"].backward()
    assert (given["image"].grad.abs().sum((1, 2, 3)) > 0).all()
    heads = [objective.network.decoder.head, objective.weak]
    assert all(p.grad is not None for head in heads for p in head.parameters())


def test_a_single_head_has_one_loss():
    given = batch()
    given["role"] = torch.full((4,), STRONG)
    assert set(model("single").training_step(given, 0)) == {"strong"}


@pytest.mark.parametrize("kind", ["single", "dual", "mixed"])
def test_every_parameter_is_in_one_group(kind):
    objective = model(kind)
    grouped = [id(p) for group in objective.parameter_groups() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in objective.parameters())


def test_priors_are_seen_by_the_first_convolution():
    objective = model(priors={"initial": "kaiming"}).eval()
    image = torch.randn(1, 5, 32, 32)
    other = image.clone()
    other[:, 4] += 1
    network = objective.export()
    assert not torch.allclose(network(image), network(other))


def test_training_goes_on_with_a_network_from_before(tmp_path):
    before = model()
    card = {"settings": {"network": before._settings.network.model_dump(mode="json")}}
    save_weights(tmp_path / "w.safetensors", before.export().state_dict(), card | {"classes": CLASSES.model_dump()})
    with torch.no_grad():
        before.network.decoder.head[-1].weight += 1
    save_weights(tmp_path / "w.safetensors", before.export().state_dict(), card | {"classes": CLASSES.model_dump()})
    after = model(start="previous", networks={"previous": tmp_path / "w.safetensors"})
    for name, value in before.export().state_dict().items():
        assert torch.equal(after.export().state_dict()[name], value)
    # What is exported holds the strong head alone and is a plain segmentation network to other stages.
    network, _, _ = load_segmenter(tmp_path / "w.safetensors")
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(network.eval()(image), before.export().eval()(image))
    with pytest.raises(PseudomaskError, match="not connected"):
        model(start="previous")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strong_batch": 30}, "cannot be split 7:1"),
        ({"ratio": (0, 1)}, "two whole numbers from 1"),
        ({"ratio": (1, 7), "weak_batch": 8}, "28 shared images do not fit into weak_batch 8"),
    ],
)
def test_impossible_batches_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HeadsSettings(**settings)


def test_the_batch_size_must_be_that_of_the_heads():
    with pytest.raises(ValueError, match="batch_size is 16, but heads asks for 60"):
        Settings()
    with pytest.raises(ValueError, match=r"set network.head to hidden"):
        Settings.model_validate({"network": {"decoder": "largefov"}})


def test_smaller_subsets_lie_in_larger_ones_and_seeds_differ():
    ids = [f"image{number}" for number in range(500)]
    sets = [set(picked(ids, LabelledSettings(count=count))) for count in (83, 166, 374)]
    assert sets[0] < sets[1] < sets[2]
    assert [len(chosen) for chosen in sets] == [83, 166, 374]
    assert set(picked(ids, LabelledSettings(fraction=0.166))) == set(picked(ids, LabelledSettings(count=83)))
    assert set(picked(ids, LabelledSettings(count=83, seed=1))) != sets[0]
    with pytest.raises(PseudomaskError, match="has 500 images with a mask, labelled asks for 501"):
        picked(ids, LabelledSettings(count=501))
