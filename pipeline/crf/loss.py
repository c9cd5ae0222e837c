"""The regularised loss: a dense CRF's energy of soft labels (rloss, ECCV 2018), gated on request (RRM, AAAI 2020).

For one image with probabilities ``P`` (K, N), region of interest ``M`` and the bilateral kernel ``A`` of
``pipeline.crf.lattice``, with ``S = M * P``::

    energy = -sum_k S_k . (G * (A S_k))            loss = weight / B * sum of the energies of the batch

``G`` is one (rloss) or RRM's gate: ``max(M - max_k P_k, 0)`` where a label is known and one elsewhere, a constant for
the gradient, and as in the codes the gradient of a gated energy is ``-2 G * (A S_k)``: a labelled pixel that is sure
pushes others and is not pushed. The linear term of the Potts energy, ``sum_k S_k . (A M)``, is constant because softmax
sums to one; without it the value is negative. Nothing is divided by the number of pixels, so a weight belongs to one
crop and scale.

``A`` is the lattice approximation, whose value is about 0.58 of the exact kernel's: a weight belongs to the lattice as
well (2e-9 of rloss and 1e-7 of RRM do). The lattice is not quite symmetric; backward uses its exact adjoint, where the
reference codes double the forward filter.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.crf import native
from pipeline.crf.lattice import NativeLattice
from pipeline.crf.torch_lattice import TorchLattice, build, features_of
from pipeline.errors import PseudomaskError


class BatchFilter:
    """The bilateral filter of a batch of equally large images: native on the CPU where it is built, else torch.

    Args:
        images: (B, 3, H, W), RGB, 0..255.
        sxy: standard deviation of position, pixels.
        srgb: standard deviation of colour.

    Raises:
        PseudomaskError: wrong shape, values that are not finite or outside 0..255.
    """

    def __init__(self, images: Tensor, sxy: float, srgb: float) -> None:
        images = images.detach().float()
        if images.ndim != 4 or images.shape[1] != 3 or not (float(images.min()) >= 0 and float(images.max()) <= 255):
            raise PseudomaskError(
                f"images of the CRF loss have shape {tuple(images.shape)}; needs (B, 3, H, W) with RGB 0..255 "
                "before normalisation"
            )
        self._native: list[NativeLattice] = []
        self._torch: TorchLattice | None = None
        pixels = images.permute(0, 2, 3, 1)
        if images.device.type == "cpu" and native.is_built():
            self._native = [NativeLattice(image.contiguous().numpy(), sxy, srgb) for image in pixels]
        else:
            owner = torch.arange(len(images), device=images.device).repeat_interleave(pixels[0, ..., 0].numel())
            self._torch = build(torch.cat([features_of(image, sxy, srgb) for image in pixels]), owner)

    def apply(self, values: Tensor, adjoint: bool = False) -> Tensor:
        """Filter (B, C, H, W), float32 or float64, without a gradient; ``adjoint`` uses the transposed kernel."""
        if self._torch is not None:
            flat = values.permute(0, 2, 3, 1).flatten(0, 2)
            shape = (len(values), *values.shape[2:], values.shape[1])
            return self._torch.filter(flat, adjoint).reshape(shape).permute(0, 3, 1, 2)
        values = values.detach().contiguous()
        result = torch.empty_like(values)
        for lattice, source, target in zip(self._native, values.numpy(), result.numpy(), strict=True):
            lattice.filter(source, adjoint, out=target)
        return result


class _Filter(torch.autograd.Function):
    """``BatchFilter.apply`` with its adjoint as gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, filter_: BatchFilter) -> Tensor:
        ctx.filter_ = filter_  # type: ignore[attr-defined]
        return filter_.apply(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.filter_.apply(gradient, adjoint=True), None  # type: ignore[attr-defined]


class DenseEnergyLoss(nn.Module):
    """The loss of this module's docstring.

    Args:
        weight: factor; rloss 2e-9, RRM and ASDT 1e-7.
        sxy: standard deviation of position in pixels of the given image, that is before ``scale``.
        srgb: standard deviation of colour.
        scale: the energy is taken at this scale: image, region and labels by nearest neighbour, probabilities bilinear.
        full: add the constant linear term, so that the value is not negative; the gradient stays.
    """

    def __init__(
        self, weight: float, sxy: float = 100, srgb: float = 15, scale: float = 0.5, full: bool = False
    ) -> None:
        super().__init__()
        if min(sxy, srgb, scale) <= 0 or scale > 1:
            raise PseudomaskError(f"CRF loss: sxy {sxy}, srgb {srgb} must be positive, scale {scale} in (0, 1]")
        self.weight, self.sxy, self.srgb, self.scale, self.full = weight, sxy, srgb, scale, full

    def forward(
        self,
        images: Tensor,
        probabilities: Tensor,
        region: Tensor | None = None,
        labels: Tensor | Callable[[], Tensor] | None = None,
        ignore: int = 255,
        filter_: BatchFilter | None = None,
    ) -> Tensor:
        """The loss, a scalar.

        Args:
            images: (B, 3, H, W), RGB, 0..255, not normalised.
            probabilities: (B, K, H, W) softmax scores.
            region: (B, H, W), one in the image and zero in padding; None: all of it.
            labels: (B, H, W) with ``ignore`` where unknown switches RRM's gate on; None: no gate, as rloss. Or a
                function that gives them, called when everything that needs no labels is done.
            ignore: value of unknown labels.
            filter_: ``filter_of(images)``, where several energies are taken over the same images; None: made here.
        """
        _check(images, probabilities, region)
        soft = probabilities
        if soft.dtype not in (torch.float32, torch.float64):
            soft = soft.float()
        mask = soft.new_ones(len(soft), 1, *soft.shape[2:]) if region is None else region[:, None].to(soft.dtype)
        if self.scale != 1:
            mask = self._nearest(mask)
            soft = F.interpolate(
                soft, scale_factor=self.scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
            )
        filter_ = filter_ or self.filter_of(images)
        masked = soft * mask
        if labels is None:
            filtered: Tensor = _Filter.apply(masked, filter_)
            energy = -(masked * filtered).sum()
        else:
            filtered = filter_.apply(masked.detach())
            given = labels() if callable(labels) else labels
            _check(images, probabilities, labels=given)
            known = self._nearest((given != ignore)[:, None].to(soft.dtype))
            gated = filtered * gate(soft.detach(), mask, known)
            # The value is that of the energy, the gradient twice the gated filter.
            energy = -((2 * masked - masked.detach()) * gated).sum()
        if self.full:
            energy = energy + (mask * filter_.apply(mask)).sum()
        return energy * (self.weight / len(images))

    def filter_of(self, images: Tensor) -> BatchFilter:
        """The bilateral filter of images (B, 3, H, W), RGB, 0..255, at the scale of the loss."""
        return BatchFilter(self._nearest(images.float()), self.sxy * self.scale, self.srgb)

    def _nearest(self, values: Tensor) -> Tensor:
        if self.scale == 1:
            return values
        return F.interpolate(values, scale_factor=self.scale, mode="nearest", recompute_scale_factor=False)


def gate(probabilities: Tensor, region: Tensor, known: Tensor) -> Tensor:
    """RRM's gate (B, 1, H, W): how unsure a labelled pixel still is, one where there is no label."""
    unsure = (region - probabilities.amax(1, keepdim=True)).clamp_min(0)
    return torch.where(known > 0, unsure, torch.ones_like(unsure))


def _check(images: Tensor, probabilities: Tensor, region: Tensor | None = None, labels: Tensor | None = None) -> None:
    batch, size = len(images), images.shape[2:]
    expected = {"probabilities": (probabilities, (batch, probabilities.shape[1], *size))}
    for name, tensor in (("region", region), ("labels", labels)):
        if tensor is not None:
            expected[name] = (tensor, (batch, *size))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise PseudomaskError(f"CRF loss: {name} have shape {tuple(tensor.shape)}, the images ask for {shape}")
