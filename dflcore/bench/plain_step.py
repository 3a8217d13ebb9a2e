"""A training step as somebody writes it who knows PyTorch and does not measure: what our step is compared with.

The same network, batch and losses in float32, eager; memory contiguous, source and target through the network one after
the other, DSSIM by depth-wise convolutions (Wang et al. 2004), AdaBelief (Zhuang et al. 2020) by ``torch._foreach``,
the data in memory already. On CUDA, precision is as torch is shipped: convolutions may take TF32, matrix products not.

What it cannot undo is what a network's own code does inside its layers; where that is tuned, the comparison is to our
disadvantage.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.models.face_model import FaceModel

_DSSIM_SIGMA_PX: Final = 1.5
_DSSIM_C1: Final = 0.01**2
_DSSIM_C2: Final = 0.03**2
_WEIGHT: Final = 10.0
"""Of structure, pixels and mask alike."""
_SECOND_WINDOW_FROM_PX: Final = 256
_BETA1: Final = 0.9
_BETA2: Final = 0.999
_EPSILON: Final = 1e-16
_LEARNING_RATE: Final = 5e-5
_WINDOW_SHARES: Final = (11.6, 23.2)
"""The resolution over these is the window of DSSIM."""


class PlainStep:
    """A network and a batch in memory; every call of :meth:`step` trains on it once.

    Args:
        model: a fresh network, which becomes this step's own.
        batch_size: faces of each person.
        device: where it runs.
        masked: compare inside the mask only.
    """

    def __init__(self, model: FaceModel, batch_size: int, device: torch.device, *, masked: bool = True) -> None:
        self.device, self.batch_size, self.resolution = device, batch_size, model.resolution
        self._masked = masked
        self._model: FaceModel = model.to(device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._model.train()
        for layer in self._model.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_pre_hook(_give_contiguous)
        self._parameters = list(self._model.parameters())
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._variances = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._batches = {name: _make_batch(model.resolution, batch_size, device) for name in model.identities}
        windows = [
            int(model.resolution / share)
            for share in _WINDOW_SHARES[: 2 if model.resolution >= _SECOND_WINDOW_FROM_PX else 1]
        ]
        self._windows = [_window(max(1, size), 3, device) for size in windows]
        sigma = max(1, model.resolution // 32)
        self._mask_window = _window(max(3, 4 * sigma) | 1, 1, device, float(sigma))
        self.loss = math.nan
        """Of the last step."""

    def step(self) -> None:
        """Paint everybody, compare, learn."""
        with _precision_as_shipped(self.device):
            total = torch.zeros((), device=self.device)
            for name, (face, mask) in self._batches.items():
                painted = self._model.reconstruct({name: face})[name]
                total = total + self._compare(painted.face, painted.mask, face, mask)
            for parameter in self._parameters:
                parameter.grad = None
            total.backward()  # type: ignore[no-untyped-call]
            self._learn()
        self.loss = float(total.detach())

    def _compare(self, face: Tensor, mask: Tensor, true_face: Tensor, true_mask: Tensor) -> Tensor:
        mask_error = _WEIGHT * (mask - true_mask).square().mean()
        if self._masked:
            reach = self._mask_window.shape[-1] // 2
            weight = 2 * F.conv2d(true_mask, self._mask_window, padding=reach).clamp(max=0.5)
            face, true_face = face * weight, true_face * weight
        structure = torch.stack([_dissimilarity(face, true_face, window) for window in self._windows]).mean()
        pixel = (face - true_face).square().mean()
        return _WEIGHT * (structure + pixel) + mask_error

    @torch.no_grad()
    def _learn(self) -> None:
        """AdaBelief: the step is as long as the gradient is expected."""
        pairs = [
            (parameter, parameter.grad, mean, variance)
            for parameter, mean, variance in zip(self._parameters, self._means, self._variances, strict=True)
            if parameter.grad is not None
        ]
        parameters, gradients, means, variances = (list(one) for one in zip(*pairs, strict=True))
        torch._foreach_lerp_(means, gradients, 1.0 - _BETA1)
        surprise = torch._foreach_sub(gradients, means)
        torch._foreach_mul_(variances, _BETA2)
        torch._foreach_addcmul_(variances, surprise, surprise, 1.0 - _BETA2)
        roots = torch._foreach_sqrt(variances)
        torch._foreach_add_(roots, _EPSILON)
        torch._foreach_addcdiv_(parameters, means, roots, -_LEARNING_RATE)


def _give_contiguous(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(one.contiguous() for one in inputs)


def _make_batch(side: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Faces (B, 3, R, R) and masks (B, 1, R, R) in [0, 1]: smooth colours, and a disk."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    faces = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    places = torch.linspace(-1.0, 1.0, side)
    disk = (places[:, None].square() + places[None].square() < 0.6).float()
    return faces.to(device), disk.expand(count, 1, side, side).contiguous().to(device)


def _window(size: int, channels: int, device: torch.device, sigma: float = _DSSIM_SIGMA_PX) -> Tensor:
    """(channels, 1, size, size) Gaussian, sum 1 per channel."""
    offsets = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    taps = torch.exp(-offsets.square() / (2 * sigma * sigma))
    window = taps[:, None] * taps[None]
    return (window / window.sum()).expand(channels, 1, size, size).contiguous().to(device)


def _dissimilarity(a: Tensor, b: Tensor, window: Tensor) -> Tensor:
    """(1 - SSIM) / 2, a scalar."""

    def blurred(picture: Tensor) -> Tensor:
        return F.conv2d(picture, window, groups=len(window))

    mean_a, mean_b = blurred(a), blurred(b)
    means, mean_squares = mean_a * mean_b, mean_a.square() + mean_b.square()
    luminance = (2 * means + _DSSIM_C1) / (mean_squares + _DSSIM_C1)
    covariance, squares = blurred(a * b) - means, blurred(a.square() + b.square()) - mean_squares
    return (1 - (luminance * (2 * covariance + _DSSIM_C2) / (squares + _DSSIM_C2)).mean()) / 2


@contextlib.contextmanager
def _precision_as_shipped(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    backends = (cudnn.conv, torch.backends.cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend, precision in zip(backends, ("tf32", "ieee"), strict=True):
            backend.fp32_precision = precision
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
