import numpy as np
import pytest
import torch

from pipeline.crf import native
from pipeline.crf.lattice import NativeLattice
from pipeline.crf.loss import DenseEnergyLoss, gate
from pipeline.crf.torch_lattice import build, features_of
from pipeline.errors import PseudomaskError

if not native.is_built():
    pytest.skip("C++ engine not built", allow_module_level=True)


def batch(labels=3, size=(10, 12), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *size, generator=generator) * 255
    return images, torch.randn(2, labels, *size, generator=generator, dtype=dtype)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_gradient_is_exact(scale):
    images, logits = batch()
    region = torch.ones(2, 10, 12)
    region[:, :3] = 0
    loss = DenseEnergyLoss(1, sxy=10, srgb=80, scale=scale)
    assert torch.autograd.gradcheck(lambda x: loss(images, x.softmax(1), region), (logits.requires_grad_(),))


def test_native_and_torch_filters_agree():
    images, values = batch(labels=5)
    lattice = NativeLattice(images[0].permute(1, 2, 0).numpy(), 10, 40)
    twin = build(features_of(images[0].permute(1, 2, 0), 10, 40), torch.zeros(120, dtype=torch.int64))
    for adjoint in (False, True):
        found = lattice.filter(values[0].numpy(), adjoint)
        expected = twin.filter(values[0].flatten(1).T, adjoint).T.reshape(values[0].shape)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        single = lattice.filter(values[0].float().numpy(), adjoint)
        np.testing.assert_allclose(single, found, atol=1e-4)


def test_lattice_to_exact_factor():
    y, x = np.mgrid[:24, :24]
    image = np.stack([x * 10, y * 10, (x > 11) * 200], -1).astype(np.float32)
    position, colour = np.stack([x, y], -1).reshape(-1, 2), image.reshape(-1, 3)
    apart = ((position[:, None] - position) ** 2).sum(-1) / (2 * 20.0**2)
    exact = np.exp(-apart - ((colour[:, None] - colour) ** 2).sum(-1) / (2 * 30.0**2))
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 576).T
    found = NativeLattice(image, 20, 30).filter(scores.reshape(3, 24, 24)).reshape(3, -1)
    expected = scores @ exact
    assert 0.5 < (scores * found).sum() / (scores * expected).sum() < 0.7
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_full_value_is_positive_and_has_the_same_gradient():
    images, logits = batch()
    gradients = []
    for full in (False, True):
        leaf = logits.clone().requires_grad_()
        value = DenseEnergyLoss(1, sxy=10, srgb=80, full=full)(images, leaf.softmax(1))
        assert (value > 0) == full
        gradients.append(torch.autograd.grad(value, leaf)[0])
    torch.testing.assert_close(*gradients)


def test_padding_has_no_influence():
    images, logits = batch()
    region = torch.ones(2, 10, 12)
    region[..., 8:] = 0
    other = logits.clone()
    other[..., 8:] += 3
    loss = DenseEnergyLoss(1, sxy=10, srgb=80, scale=1)
    torch.testing.assert_close(loss(images, logits.softmax(1), region), loss(images, other.softmax(1), region))


def test_gate_follows_its_formula():
    probabilities = torch.tensor([0.7, 0.3]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    region = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    known = torch.tensor([[[[1.0, 0.0, 1.0]]]])
    torch.testing.assert_close(gate(probabilities, region, known), torch.tensor([[[[0.3, 1.0, 0.0]]]]))


def test_gate_of_unknown_labels_changes_nothing():
    images, logits = batch()
    loss, soft = DenseEnergyLoss(1, sxy=10, srgb=80), logits.softmax(1)
    unknown = torch.full((2, 10, 12), 255)
    torch.testing.assert_close(loss(images, soft, labels=unknown), loss(images, soft))
    assert abs(loss(images, soft, labels=unknown * 0)) < abs(loss(images, soft))


def test_gradient_of_a_gated_energy_is_twice_the_gated_filter():
    images, logits = batch()
    soft = logits.softmax(1).requires_grad_()
    labels = torch.randint(0, 3, (2, 10, 12), generator=torch.Generator().manual_seed(1))
    labels[:, 5:] = 255
    region = torch.ones(2, 10, 12)
    region[..., 9:] = 0
    loss = DenseEnergyLoss(3, sxy=10, srgb=80, scale=1)
    value = loss(images, soft, region, labels)
    found = torch.autograd.grad(value, soft)[0]
    mask, known = region[:, None].double(), (labels != 255)[:, None].double()
    gated = gate(soft.detach(), mask, known) * loss.filter_of(images).apply((soft * mask).detach())
    torch.testing.assert_close(value, -3 * (soft * mask * gated).sum() / 2)
    torch.testing.assert_close(found, -3 * 2 * mask * gated / 2)


def test_without_the_engine_the_loss_is_the_same(monkeypatch):
    images, logits = batch()
    loss, soft = DenseEnergyLoss(1, sxy=10, srgb=80), logits.softmax(1)
    expected = loss(images, soft)
    monkeypatch.setattr(native, "is_built", lambda: False)
    torch.testing.assert_close(loss(images, soft), expected, rtol=1e-4, atol=1e-4)


def test_wrong_input_is_named():
    images, logits = batch()
    loss = DenseEnergyLoss(1)
    with pytest.raises(PseudomaskError, match="before normalisation"):
        loss(images / 100 - 1, logits.softmax(1))
    with pytest.raises(PseudomaskError, match="probabilities have shape"):
        loss(images, logits.softmax(1)[..., 1:])
    with pytest.raises(PseudomaskError, match="positive"):
        DenseEnergyLoss(1, sxy=0)
