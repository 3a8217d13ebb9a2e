"""Cryptomatte: who is where in a frame, as ranked pairs of id and coverage that compositing hosts pick mattes from.

Source: Cryptomatte specification 1.1.0 (Friedman and Jones, BSD 3-clause; facts only), and Appleby's public-domain
MurmurHash3. A layer ``crypto_face`` is the channels ``crypto_face00.rgba``, ``crypto_face01.rgba``: in each, r and b
are ids, g and a the coverage that belongs to them, most covering first; the header says which names the ids stand for.
Ids and coverage are 32-bit and must not be touched by lossy compression: the channels have lower-case names, as the
specification writes them, which EXR's DWA compression keeps bit for bit where it would break ``R`` and ``G``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dflcore.io.plate import Window
from dflcore.merge.composite import around, empty_pixels, inside
from dflcore.types import FloatArray

LAYER_NAME = "crypto_face"
RANKED_LAYERS = 2
"""Layers of two ranks each. Up to four people share a pixel; of more the least covering are left out."""
CHANNELS = ("r", "g", "b", "a")
_WORD = 0xFFFFFFFF
_KEY_DIGITS = 7
"""Of the header's keys: with more, the longest attribute name would not fit into EXR's 31 characters."""


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32 of some bytes, as an unsigned number."""
    h = seed & _WORD
    body = len(data) & ~3
    for (block,) in struct.iter_unpack("<I", data[:body]):
        h ^= _scramble(block)
        h = (_rotate(h, 13) * 5 + 0xE6546B64) & _WORD
    tail = data[body:]
    if tail:
        h ^= _scramble(int.from_bytes(tail, "little"))
    h ^= len(data)
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _WORD
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _WORD
    return h ^ (h >> 16)


def name_bits(name: str) -> int:
    """The bits of a name's id: its hash with the exponent kept within 1..254, so that no id is NaN, infinite or tiny.

    An exponent that is out of range is so by one, and the nearest legal one differs from it in the lowest bit.
    """
    bits = murmur3_32(name.encode("utf-8"))
    exponent = min(max((bits >> 23) & 0xFF, 1), 254)
    return (bits & 0x807FFFFF) | (exponent << 23)


def name_id(name: str) -> np.float32:
    """The id that stands for a name in the pixels."""
    return np.uint32(name_bits(name)).view(np.float32)


def header(names: Iterable[str]) -> dict[str, str]:
    """The header's attributes for the layer and everybody who may be in it.

    Args:
        names: the same for all frames of a sequence, so that a host may read any of them.
    """
    prefix = f"cryptomatte/{name_bits(LAYER_NAME):08x}"[: len("cryptomatte/") + _KEY_DIGITS]
    manifest = {name: f"{name_bits(name):08x}" for name in sorted(set(names))}
    return {
        f"{prefix}/name": LAYER_NAME,
        f"{prefix}/hash": "MurmurHash3_32",
        f"{prefix}/conversion": "uint32_to_float32",
        f"{prefix}/manifest": json.dumps(manifest, ensure_ascii=False, separators=(",", ":")),
    }


def layer_names() -> tuple[str, ...]:
    """The layer's numbered parts, as a file has them."""
    return tuple(f"{LAYER_NAME}{index:02d}" for index in range(RANKED_LAYERS))


def ranked_layers(
    coverages: Mapping[str, tuple[Window, FloatArray]], data_window: Window
) -> list[tuple[str, NDArray[np.float32]]]:
    """The pixels of the layer.

    Args:
        coverages: name → window inside the data window, and (h, w) float32 in [0, 1] over it; what nobody covers
            counts as nobody's.

    Returns:
        Layer name, (H, W, 4) float32 over the data window, for each of :data:`RANKED_LAYERS`.
    """
    layers = [empty_pixels(data_window, len(CHANNELS), np.float32) for _ in range(RANKED_LAYERS)]
    if len(coverages) == 1:
        ((name, (window, coverage)),) = coverages.items()
        rows, columns = inside(window, data_window)
        part = layers[0][rows, columns]
        np.copyto(part[..., 0], name_id(name), where=coverage > 0.0)
        part[..., 1] = coverage
    elif coverages:
        window = around([window for window, _ in coverages.values()])
        rows, columns = inside(window, data_window)
        for rank, (ids, ranked) in enumerate(_rank(coverages, window)):
            part = layers[rank // 2][rows, columns]
            part[..., 2 * (rank % 2)] = ids
            part[..., 2 * (rank % 2) + 1] = ranked
    return list(zip(layer_names(), layers, strict=True))


def _rank(
    coverages: Mapping[str, tuple[Window, FloatArray]], window: Window
) -> list[tuple[NDArray[np.float32], FloatArray]]:
    """Ids and coverage over the window, most covering first; equally covering names in the order given."""
    stack = np.zeros((len(coverages), window.height, window.width), np.float32)
    for plane, (own, coverage) in zip(stack, coverages.values(), strict=True):
        plane[inside(own, window)] = coverage
    ids = np.array([name_id(name) for name in coverages], np.float32)
    order = np.argsort(-stack, axis=0, kind="stable")[: 2 * RANKED_LAYERS]
    ranked = np.take_along_axis(stack, order, axis=0)
    found = np.where(ranked > 0.0, ids[order], np.float32(0.0))
    return list(zip(found, ranked, strict=True))


def _scramble(block: int) -> int:
    return (_rotate((block * 0xCC9E2D51) & _WORD, 15) * 0x1B873593) & _WORD


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _WORD
