"""The two sets the demo is shot on: a public-domain portrait each, some scenery, and a light brighter than 1.

The portraits come with ordinary Python packages, so that the demo needs no download: Eileen Collins (NASA, public
domain) from scikit-image, Grace Hopper (US Navy, public domain) from matplotlib. A set is larger than its portrait
where the camera would otherwise see past the picture's edge.

Convention:
    Set coordinates are pixels of :attr:`Stage.base`, origin at the top-left corner, x right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from dflcore.errors import Unsupported
from dflcore.types import FloatArray

SOURCE_CREDIT = "Eileen Collins, NASA, public domain"
TARGET_CREDIT = "Grace Hopper, US Navy, public domain"
HIGHLIGHT_PEAK_LINEAR = 8.0
"""Brightest value of the practical lights before exposure: three stops above diffuse white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What stands in front of the demo's camera.

    Attributes:
        name: ``source`` or ``target``.
        base: (H, W, 3) float32 in [0, 1], sRGB-encoded: everything that reflects light.
        emission_linear: (H, W, 3) float32, scene-linear ACEScg, up to :data:`HIGHLIGHT_PEAK_LINEAR`: what shines
            itself, with the bloom it makes in a lens.
        face_center_px, face_radius_px: (x, y) middle of the face and half of its (width, height), set pixels.
    """

    name: str
    base: FloatArray
    emission_linear: FloatArray
    face_center_px: tuple[float, float]
    face_radius_px: tuple[float, float]


def load_source_portrait() -> FloatArray:
    """Eileen Collins, (512, 512, 3) float32 in [0, 1], sRGB-encoded.

    Raises:
        Unsupported: scikit-image is not installed.
    """
    try:
        import skimage.data
    except ImportError as error:
        raise _missing("scikit-image", error) from error
    return _decoded(cast(Any, skimage.data).astronaut())


def load_target_portrait() -> FloatArray:
    """Grace Hopper, (600, 512, 3) float32 in [0, 1], sRGB-encoded.

    Raises:
        Unsupported: matplotlib is not installed.
    """
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise _missing("matplotlib", error) from error
    pixels = cv2.imread(str(get_sample_data("grace_hopper.jpg", asfileobj=False)), cv2.IMREAD_COLOR)
    if pixels is None:
        raise _missing("matplotlib", None)
    return _decoded(pixels[..., ::-1])


def build_source_stage(seed: int) -> Stage:
    """Collins before her backdrop, with a bare bulb hanging beside the shuttle."""
    portrait = load_source_portrait()
    headroom = 64
    base = _float32(cv2.copyMakeBorder(portrait, headroom, 0, 0, 0, cv2.BORDER_REFLECT_101))
    # The mirrored rows would show the upper edge of hair and flag twice; out of focus they read as backdrop.
    soft = cv2.GaussianBlur(base, (0, 0), 14.0)
    fade = _smooth_step(np.linspace(1.15, 0.0, headroom, dtype=np.float32))[:, None, None]
    base[:headroom] += fade * (soft[:headroom] - base[:headroom])
    _add_grain(base[:headroom], 0.006, seed)
    bulb = (352.0, 52.0 + headroom)
    _draw_cord(base, bulb)
    emission = _bulb(base.shape[:2], bulb, radius=7.5)
    return Stage(
        name="source",
        base=base,
        emission_linear=_with_bloom(emission),
        face_center_px=(222.0, 122.0 + headroom),
        face_radius_px=(48.0, 62.0),
    )


def build_target_stage(seed: int) -> Stage:
    """Hopper between a bright window, frame left, and her blue backdrop."""
    portrait = load_target_portrait()
    left, right = 190, 120
    base = np.concatenate(
        [_wall(portrait.shape[0], left, seed), portrait, _continue_right(portrait, right, seed + 1)], axis=1
    )
    emission = np.zeros_like(base)
    emission[:, :left] = _window(portrait.shape[0], left)
    return Stage(
        name="target",
        base=base,
        emission_linear=_with_bloom(emission),
        face_center_px=(265.0 + left, 238.0),
        face_radius_px=(95.0, 120.0),
    )


def _missing(package: str, error: ImportError | None) -> Unsupported:
    why = f": {error}" if error else ""
    return Unsupported(
        f"The demo's portraits come with {package}, which cannot be used{why}. Install "
        "the demo extra of dfl-compositor.",
        reason="DEMO_NOT_INSTALLED",
        package=package,
    )


def _decoded(pixels: Any) -> FloatArray:
    return _float32(pixels[..., :3]) / np.float32(255.0)


def _float32(pixels: Any) -> FloatArray:
    """OpenCV's stubs do not know the element type of what they return."""
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _smooth_step(values: FloatArray) -> FloatArray:
    clipped = np.clip(values, 0.0, 1.0)
    return _float32(clipped * clipped * (3.0 - 2.0 * clipped))


def _add_grain(pixels: FloatArray, amount: float, seed: int) -> None:
    """In place; a texture of about a pixel, as the portraits have it."""
    noise = np.random.default_rng(seed).standard_normal(pixels.shape[:2], dtype=np.float32)
    noise = _float32(cv2.GaussianBlur(noise, (0, 0), 0.8))
    pixels += (amount / float(noise.std())) * noise[..., None]
    np.clip(pixels, 0.0, 1.0, out=pixels)


def _wall(height: int, width: int, seed: int) -> FloatArray:
    """(height, width, 3) plaster in half shadow, darker to the floor and toward the frame's edge."""
    y = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    shade = (0.34 - 0.12 * y) * (0.85 + 0.15 * x)
    wall = _float32(shade[..., None] * np.array([1.06, 1.0, 0.92]))
    blotches = np.random.default_rng(seed).standard_normal((height, width), dtype=np.float32)
    wall += 0.5 * _float32(cv2.GaussianBlur(blotches, (0, 0), 9.0))[..., None]
    _add_grain(wall, 0.008, seed)
    wall[:, -7:] *= np.linspace(1.0, 0.3, 7, dtype=np.float32)[None, :, None]  # the wall ends in its own shadow
    return wall


def _continue_right(portrait: FloatArray, width: int, seed: int) -> FloatArray:
    """Carry backdrop and shoulder on beyond the portrait's right edge, along the slope of the arm."""
    slope = 2.6
    height = portrait.shape[0]
    edge = cv2.GaussianBlur(portrait[:, -6:].mean(axis=1, keepdims=True), (1, 0), sigmaX=0.1, sigmaY=2.0)
    column = edge.reshape(height, 1, 3)
    rows = np.arange(height, dtype=np.float32)[:, None] - slope * np.arange(width, dtype=np.float32)[None, :]
    continued = _float32(
        cv2.remap(column, np.zeros_like(rows), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
    _add_grain(continued, float(np.std(portrait[40:200, -40:] - cv2.blur(portrait[40:200, -40:], (9, 9)))), seed)
    return continued


def _window(height: int, width: int) -> FloatArray:
    """(height, width, 3) emission of panes of daylight between dark bars; zero where the wall is."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    inside = _box_edge(x, 14.0, width - 52.0) * _box_edge(y, 40.0, height - 150.0)
    bars = _box_edge(x, 68.0, 75.0) + _box_edge(y, 176.0, 183.0) + _box_edge(y, 318.0, 325.0)
    sky = np.clip(1.05 - (y / height) * 1.1, 0.0, 1.0)
    tree_line = 0.55 + 0.06 * np.sin(x * 0.09) + 0.04 * np.sin(x * 0.23 + 1.0)
    foliage = _smooth_step((y / height - tree_line) * 14.0)
    level = HIGHLIGHT_PEAK_LINEAR * (sky * (1.0 - foliage) + 0.16 * foliage)
    light = np.clip(inside * (1.0 - np.clip(bars, 0.0, 1.0)), 0.0, 1.0) * level
    color = np.array([0.93, 0.98, 1.0], np.float32)
    green = np.array([0.80, 1.0, 0.66], np.float32)
    tint = color + foliage[..., None] * (green - color)
    return _float32(light[..., None] * tint)


def _box_edge(values: FloatArray, low: float, high: float) -> FloatArray:
    """1 between ``low`` and ``high`` with edges two pixels soft."""
    rise = np.clip((values - low) / 2.0 + 0.5, 0.0, 1.0)
    fall = np.clip((high - values) / 2.0 + 0.5, 0.0, 1.0)
    return _float32(rise * fall)


def _bulb(shape: tuple[int, ...], center: tuple[float, float], radius: float) -> FloatArray:
    """(H, W, 3) emission of a warm bulb, brightest in its middle."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) + 0.5
    distance = np.hypot(x - center[0], (y - center[1]) * 0.85) / radius
    level = HIGHLIGHT_PEAK_LINEAR * _smooth_step((1.25 - distance) / 0.6)
    return _float32(level[..., None] * np.array([1.0, 0.86, 0.62], np.float32))


def _draw_cord(base: FloatArray, bulb: tuple[float, float]) -> None:
    """In place: the cord and socket the bulb hangs from."""
    x, bottom = int(bulb[0]), int(bulb[1])
    base[: bottom - 12, x : x + 2] *= 0.25
    base[bottom - 14 : bottom - 5, x - 3 : x + 5] *= 0.18


def _with_bloom(emission: FloatArray) -> FloatArray:
    """Light scattered in the lens: most stays, a little spreads in three widths."""
    bloom = emission * 0.95
    for share, sigma_px in ((0.03, 4.0), (0.014, 14.0), (0.006, 40.0)):
        bloom += share * cv2.GaussianBlur(emission, (0, 0), sigma_px)
    return _float32(bloom)
