"""Losses of the critics and of those they judge: TrueFace on codes, GAN on pictures.

All are sigmoid cross-entropies of logits, as means over everything (the reference adds up over the batch).
Source: paper arXiv:2005.05535, §3.2; weights as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dflcore.train.losses.filters import widen
from dflcore.train.losses.smoothness import SMOOTHNESS_WEIGHT, smoothness

OUTSIDE_WEIGHT = 0.02


def true_face_generator(source_logits: Tensor) -> Tensor:
    """What the encoder minimises: the critic takes the source's codes for the target's.

    The paper makes F_src approach F_dst, and so does this: the source's codes are drawn to where the target's are,
    since it is target codes that the source's decoder will be given. The reference does the same, though its help
    promises the opposite.

    Args:
        source_logits: any shape, of the critic on the source's codes, which learn; the critic's weights rest.

    Returns:
        Scalar.
    """
    return _says_yes(source_logits)


def true_face_discriminator(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """What the critic minimises: yes to the target's codes, no to the source's.

    Args:
        source_logits, target_logits: any shape, of the critic on detached codes.

    Returns:
        Scalar.
    """
    return 0.5 * (_says_yes(target_logits) + _says_no(source_logits))


def gan_generator(painted_logits: tuple[Tensor, Tensor]) -> Tensor:
    """What the painter minimises: the critic takes what was painted for real.

    Args:
        painted_logits: of patches (centre) and of pixels, on what was painted, which learns.

    Returns:
        Scalar, not yet weighed by the GAN's power.
    """
    return _says_yes(painted_logits[0]) + _says_yes(painted_logits[1])


def gan_discriminator(real_logits: tuple[Tensor, Tensor], painted_logits: tuple[Tensor, Tensor]) -> Tensor:
    """What the critic minimises: yes to pictures, no to what was painted; patches and pixels weigh the same.

    Args:
        real_logits, painted_logits: of patches (centre) and of pixels, on detached pictures.

    Returns:
        Scalar.
    """
    parts = zip(real_logits, painted_logits, strict=True)
    centre, pixel = (0.5 * (_says_yes(real) + _says_no(painted)) for real, painted in parts)
    return centre + pixel


def quiet_outside(painted: Tensor, truth: Tensor, outside: Tensor) -> Tensor:
    """Keeps bright dots from growing outside the mask, where a GAN with masked training looks at nothing.

    Args:
        painted, truth: (B, 3, R, R). outside: (B, 1, R, R) in [0, 1], 1 minus the grown mask.

    Returns:
        Scalar, to be added as it is.
    """
    painted, truth, outside = widen(painted), widen(truth), widen(outside)
    error = F.mse_loss(painted * outside, truth * outside)
    return OUTSIDE_WEIGHT * error + SMOOTHNESS_WEIGHT * smoothness(painted)


def _says_yes(logits: Tensor) -> Tensor:
    return F.softplus(-widen(logits)).mean()


def _says_no(logits: Tensor) -> Tensor:
    return F.softplus(widen(logits)).mean()
