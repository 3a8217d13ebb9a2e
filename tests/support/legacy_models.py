"""Model folders of the reference, made with Python's own pickle, and its networks as plain NumPy (fact sheet §2.5, §5).

Nothing here comes from the product: names, layouts and wiring are written down once more, in the reference's own
conventions (height, width, channels; blue, green, red; sub-pixels slow), so that a test that compares the two means
something.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from legacy_files import dumps

Weights = dict[str, np.ndarray]
Parts = dict[str, Weights]
CLASS_OF = {"df": "SAEHD", "liae": "SAEHD", "amp": "AMP", "quick96": "Quick96"}
AMP_OPTIONS: dict[str, Any] = {
    "resolution": 64,
    "face_type": "wf",
    "ae_dims": 32,
    "inter_dims": 48,
    "e_dims": 8,
    "d_dims": 8,
    "d_mask_dims": 4,
    "morph_factor": 0.25,
    "batch_size": 8,
}
QUICK96_OPTIONS: dict[str, Any] = {"batch_size": 4}


def saehd_options(archi: str, **changed: Any) -> dict[str, Any]:
    """A tiny network of that architecture."""
    return {
        "resolution": 64,
        "face_type": "f",
        "archi": archi,
        "ae_dims": 24,
        "e_dims": 8,
        "d_dims": 8,
        "d_mask_dims": 4,
        "batch_size": 4,
        "masked_training": True,
        "gan_power": 0.0,
        "ct_mode": "none",
        **changed,
    }


def write_model(
    folder: Path,
    kind: str,
    options: Mapping[str, Any],
    *,
    name: str = "new",
    iteration: int = 4,
    seed: int = 0,
    protocol: int = 4,
    old_numpy: bool = True,
    flat: bool = False,
) -> Parts:
    """A folder with a model of random weights.

    Args:
        kind: ``df``, ``liae``, ``amp`` or ``quick96``.
        flat: write arrays in one dimension.

    Returns:
        The weights, in the reference's shapes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = make_parts(kind, options, seed)
    prefix = folder / f"{name}_{CLASS_OF[kind]}"
    rng = np.random.default_rng(seed)
    side = options.get("resolution", 96)
    preview = [[rng.random((2, side, side, 3), np.float32), rng.random((2, side, side, 1), np.float32)] for _ in "sd"]
    data = {
        "iter": iteration,
        "options": dict(options),
        "loss_history": [[1.0 / (step + 1), 2.0 / (step + 1)] for step in range(iteration)],
        "sample_for_preview": preview,
        "choosed_gpu_indexes": [0],
    }
    Path(f"{prefix}_data.dat").write_bytes(dumps(data, protocol, old_numpy=old_numpy))
    for part, weights in parts.items():
        stored = {key: value.reshape(-1) if flat else value for key, value in weights.items()}
        Path(f"{prefix}_{part}.npy").write_bytes(dumps(stored, protocol, old_numpy=old_numpy))
    optimizer = {"iters:0": np.array([iteration], np.int64)}
    Path(f"{prefix}_src_dst_opt.npy").write_bytes(dumps(optimizer, protocol, old_numpy=old_numpy))
    Path(f"{prefix}_summary.txt").write_text("== Model Summary ==\n")
    return parts


# -- weights


class _Maker:
    """Random weights, strong enough that pictures differ from grey.

    Args:
        gain: of convolutions; x cos(x) turns strong signals into chaos, in which every rounding error grows.
    """

    def __init__(self, seed: int, gain: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.gain = gain
        self.weights: Weights = {}

    def convolution(self, path: str, inputs: int, outputs: int, kernel: int) -> None:
        self._layer(path, (kernel, kernel, inputs, outputs), self.gain * math.sqrt(4.0 / (kernel * kernel * inputs)))

    def dense(self, path: str, inputs: int, outputs: int) -> None:
        self._layer(path, (inputs, outputs), math.sqrt(1.0 / inputs))

    def residual(self, path: str, channels: int) -> None:
        for name in ("conv1", "conv2"):
            self._layer(f"{path}/{name}", (3, 3, channels, channels), math.sqrt(0.5 / (9 * channels)))

    def _layer(self, path: str, shape: tuple[int, ...], deviation: float) -> None:
        self.weights[f"{path}/weight:0"] = self.rng.normal(0, deviation, shape).astype(np.float32)
        self.weights[f"{path}/bias:0"] = self.rng.normal(0, 0.2, shape[-1:]).astype(np.float32)


def make_parts(kind: str, options: Mapping[str, Any], seed: int = 0) -> Parts:
    """Every weight file of a model."""
    letters = letters_of(kind, options)
    if kind == "quick96":
        options = {"resolution": 96, "ae_dims": 128, "e_dims": 64, "d_dims": 64, "d_mask_dims": 16}
    resolution, ae, e, d, m = (options[key] for key in ("resolution", "ae_dims", "e_dims", "d_dims", "d_mask_dims"))
    last = resolution // (32 if "t" in letters else 16)
    flat = 8 * e * last * last
    r0 = resolution // (32 if "d" in letters else 16)
    parts: Parts = {}

    def new(part: str) -> _Maker:
        maker = _Maker(seed * 100 + len(parts), 0.5 if "c" in letters else 1.0)
        parts[part] = maker.weights
        return maker

    encoder = new("encoder")
    widths = [3, e, 2 * e, 4 * e, 8 * e, *([8 * e] if "t" in letters else [])]
    for number in range(len(widths) - 1):
        path = f"down{number + 1}/conv1" if "t" in letters else f"down1/downs_{number}/conv1"
        encoder.convolution(path, widths[number], widths[number + 1], 5)
    if "t" in letters:
        encoder.residual("res1", e)
        encoder.residual("res5", 8 * e)
    if kind == "amp":
        encoder.dense("dense1", flat, ae)
        for part in ("inter_src", "inter_dst"):
            new(part).dense("dense2", ae, r0 * r0 * options["inter_dims"])
        _make_decoder(new("decoder"), options["inter_dims"], d, m, letters)
        return parts
    out = 2 * ae if kind == "liae" else ae
    for part in ("inter_AB", "inter_B") if kind == "liae" else ("inter",):
        inter = new(part)
        inter.dense("dense1", flat, ae)
        inter.dense("dense2", ae, r0 * r0 * out)
        if "t" not in letters:
            inter.convolution("upscale1/conv1", out, 4 * out, 3)
    for part in ("decoder",) if kind == "liae" else ("decoder_src", "decoder_dst"):
        _make_decoder(new(part), 4 * ae if kind == "liae" else ae, d, m, letters)
    return parts


def _make_decoder(maker: _Maker, code: int, d: int, m: int, letters: str) -> None:
    multiples = (8, 8, 4, 2) if "t" in letters else (8, 4, 2)
    width = code
    for level, multiple in enumerate(multiples):
        maker.convolution(f"upscale{level}/conv1", width, 4 * multiple * d, 3)
        width = multiple * d
        maker.residual(f"res{level}", width)
    maker.convolution("out_conv", width, 3, 1)
    if "d" in letters:
        for number in (1, 2, 3):
            maker.convolution(f"out_conv{number}", width, 3, 3)
    width = code
    for level, multiple in enumerate((*multiples, 1) if "d" in letters else multiples):
        maker.convolution(f"upscalem{level}/conv1", width, 4 * multiple * m, 3)
        width = multiple * m
    maker.convolution("out_convm", width, 1, 1)


def letters_of(kind: str, options: Mapping[str, Any]) -> str:
    if kind in ("amp", "quick96"):
        return {"amp": "udt", "quick96": "ud"}[kind]
    return str(options["archi"]).partition("-")[2]


# -- the networks, (N, H, W, C) and BGR throughout


def reference_swap(
    kind: str, options: Mapping[str, Any], parts: Parts, faces: np.ndarray, morph: float = 1.0
) -> dict[str, np.ndarray]:
    """What the reference makes of target faces, and what it makes of them as reconstructions.

    Args:
        faces: (N, H, W, 3) BGR in [0, 1].

    Returns:
        ``swap``, ``swap_mask`` and ``target_mask`` as used when merging, ``target``: the target painted as such.
    """
    net = _Network(letters_of(kind, options))
    flat = net.encoder(parts["encoder"], faces)
    if kind == "amp":
        side, width = options["resolution"] // 32, options["inter_dims"]
        flat = net.dense(parts["encoder"], "dense1", flat)
        source, target = (
            net.grid(net.dense(parts[part], "dense2", flat), width, side) for part in ("inter_src", "inter_dst")
        )
        count = int(width * morph)
        mixed = np.concatenate([source[..., :count], target[..., count:]], axis=-1)
        swap, swap_mask = net.decoder(parts["decoder"], mixed)
        painted, target_mask = net.decoder(parts["decoder"], target)
    elif kind == "liae":
        both, own = (net.inter(parts[part], flat, 2, options) for part in ("inter_AB", "inter_B"))
        swap, swap_mask = net.decoder(parts["decoder"], np.concatenate([both, both], axis=-1))
        painted, target_mask = net.decoder(parts["decoder"], np.concatenate([own, both], axis=-1))
    else:
        full = options if kind == "df" else {"resolution": 96, "ae_dims": 128}
        code = net.inter(parts["inter"], flat, 1, full)
        swap, swap_mask = net.decoder(parts["decoder_src"], code)
        painted, target_mask = net.decoder(parts["decoder_dst"], code)
    return {"swap": swap, "swap_mask": swap_mask, "target_mask": target_mask, "target": painted}


class _Network:
    def __init__(self, letters: str) -> None:
        self.letters = letters

    def encoder(self, w: Weights, x: np.ndarray) -> np.ndarray:
        if "t" in self.letters:
            for number in range(1, 6):
                x = self.act(conv(w, f"down{number}/conv1", x, 2), 0.1)
                if number in (1, 5):
                    x = self.residual(w, f"res{number}", x)
        else:
            for number in range(4):
                x = self.act(conv(w, f"down1/downs_{number}/conv1", x, 2), 0.1)
        flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # channel-major
        if "u" in self.letters:
            flat = flat / np.sqrt(np.mean(flat**2, axis=1, keepdims=True) + 1e-6)
        return flat

    def inter(self, w: Weights, flat: np.ndarray, multiple: int, options: Mapping[str, Any]) -> np.ndarray:
        side = options["resolution"] // (32 if "d" in self.letters else 16)
        x = self.grid(self.dense(w, "dense2", self.dense(w, "dense1", flat)), multiple * options["ae_dims"], side)
        return x if "t" in self.letters else self.upscale(w, "upscale1", x)

    def decoder(self, w: Weights, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        levels = 4 if "t" in self.letters else 3
        x = m = code
        for level in range(levels):
            x = self.residual(w, f"res{level}", self.upscale(w, f"upscale{level}", x))
        for level in range(levels + 1 if "d" in self.letters else levels):
            m = self.upscale(w, f"upscalem{level}", m)
        if "d" in self.letters:
            phases = [conv(w, name, x, 1) for name in ("out_conv", "out_conv1", "out_conv2", "out_conv3")]
            face = depth_to_space(np.concatenate(phases, axis=-1))
        else:
            face = conv(w, "out_conv", x, 1)
        return sigmoid(face), sigmoid(conv(w, "out_convm", m, 1))

    def upscale(self, w: Weights, path: str, x: np.ndarray) -> np.ndarray:
        return depth_to_space(self.act(conv(w, f"{path}/conv1", x, 1), 0.1))

    def residual(self, w: Weights, path: str, x: np.ndarray) -> np.ndarray:
        inner = conv(w, f"{path}/conv2", self.act(conv(w, f"{path}/conv1", x, 1), 0.2), 1)
        return self.act(x + inner, 0.2)

    def act(self, x: np.ndarray, slope: float) -> np.ndarray:
        return x * np.cos(x) if "c" in self.letters else np.where(x > 0, x, slope * x)

    @staticmethod
    def dense(w: Weights, path: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{path}/weight:0"].astype(np.float64) + w[f"{path}/bias:0"]

    @staticmethod
    def grid(x: np.ndarray, channels: int, side: int) -> np.ndarray:
        return x.reshape(len(x), channels, side, side).transpose(0, 2, 3, 1)


def conv(w: Weights, path: str, x: np.ndarray, stride: int) -> np.ndarray:
    """Kernel (height, width, in, out), symmetric zeros around, then no padding; float64."""
    kernel = w[f"{path}/weight:0"].astype(np.float64)
    size = kernel.shape[0]
    pad = size // 2
    x = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2])) + w[f"{path}/bias:0"]


def depth_to_space(x: np.ndarray) -> np.ndarray:
    """Channels are (row of the sub-pixel, column of it, channel)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, height * 2, width * 2, channels // 4)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))
