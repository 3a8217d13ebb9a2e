"""Convolution-aware initialisation: filters that start orthogonal in the Fourier domain.

Source: Aghajanyan, Convolution Aware Initialization, arXiv:1702.06295; the recipe's numbers as measured facts of
DeepFaceLab 46fc239 (GPL-3.0, nothing copied), which computes it but no longer uses it anywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_NOISE = 0.05


def initialize_ca(module: nn.Module, generator: torch.Generator) -> None:
    """Start every convolution inside ``module`` convolution-aware, with zero biases; other layers stay as they are.

    The kernels' variance is 2 / fan_in, fan_in counting the inputs of one output.

    Args:
        generator: of the CPU; the same state gives the same kernels, on whatever device the module is.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                layer.weight.copy_(draw_ca_kernels(*layer.weight.shape, generator=generator))
                if layer.bias is not None:
                    layer.bias.zero_()


def draw_ca_kernels(outputs: int, inputs: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
    """Kernels (outputs, inputs, height, width) float32 on the CPU, as :func:`initialize_ca` says."""
    shape = (outputs, inputs, height, width)
    kernels = torch.randn(shape, generator=generator) * _NOISE
    columns = width // 2 + 1
    if height * columns > 1:
        spectra = draw_orthonormal(outputs, inputs, height * columns, generator=generator)
        waves = torch.fft.irfft2(torch.eye(height * columns).view(-1, height, columns), s=(height, width))
        kernels += (spectra @ waves.flatten(1)).view(shape)  # the inverse transform, as one matrix product
    return kernels * math.sqrt(2 / (inputs * height * width)) / kernels.std(correction=0)


def draw_orthonormal(outputs: int, inputs: int, size: int, *, generator: torch.Generator) -> Tensor:
    """For every output, ``inputs`` vectors of ``size`` numbers: each run of ``size`` of them is orthonormal.

    All orthonormal bases are alike likely. They come from QR decompositions of Gaussian matrices; the reference takes
    singular vectors of symmetric ones, which are bases of the same kind at six times the cost.
    """
    count = inputs // size + 1
    basis, upper = torch.linalg.qr(torch.randn(outputs, count, size, size, generator=generator))
    basis *= upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    vectors: Tensor = basis.mT.reshape(outputs, count * size, size)
    return vectors[:, :inputs]
