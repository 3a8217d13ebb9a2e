"""Any image-to-image network in ONNX form as an enhancer: ``onnx:<weights name or path>?option=value&...``.

=========  ===================  ================================================================================
option     values               meaning
=========  ===================  ================================================================================
range      unit, signed, byte   values the network takes and gives: [0, 1] (default), [-1, 1] or [0, 255]
channels   rgb, bgr             order of colours; rgb by default
fit        face, tile           for networks of one fixed size: resize the whole face to it (default, what face
                                restoration networks expect), or go over it in overlapping tiles
=========  ===================  ================================================================================

Layout (NCHW or NHWC), size and scale are read from the network, by a trial run where it does not state them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import numpy as np

from dflcore.enhance.base import check_faces, enhance_in_tiles, file_digest
from dflcore.enhance.lanczos import resize_lanczos
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.types import FloatArray
from dflcore.weights.store import WeightStore

MAX_SCALE: Final = 4
TRIAL_PX: Final = 64
_OPTIONS: Final = {"range": ("unit", "signed", "byte"), "channels": ("rgb", "bgr"), "fit": ("face", "tile")}
_FLOAT_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """See the table of this module."""

    range: str = "unit"
    channels: str = "rgb"
    fit: str = "face"

    @classmethod
    def parse(cls, text: str) -> OnnxOptions:
        """``range=signed&channels=bgr``. Raises InvalidInput for unknown names and values."""
        values: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            if value not in _OPTIONS.get(name, ()):
                known = ", ".join(f"{option}={'|'.join(allowed)}" for option, allowed in _OPTIONS.items())
                raise InvalidInput(
                    f"The ONNX enhancer knows no {name}={value}; options are {known}.", reason="BAD_ARGUMENT"
                )
            values[name] = value
        return cls(**values)


class OnnxEnhancer:
    """A network of one image input; see :class:`dflcore.enhance.base.Enhancer`.

    Args:
        session: an onnxruntime session, or anything with its ``get_inputs`` and ``run``.
        options: see this module.
        name: for messages.
        digest: identifies the network.

    Raises:
        Unsupported: not an image-to-image network, or a scale beyond 1 to 4.
    """

    def __init__(self, session: Any, options: OnnxOptions, name: str, digest: str = "") -> None:
        self.digest = f"{digest} {options}"
        self._session, self._options, self._label = session, options, name
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _FLOAT_TYPES:
            stated = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise self._unsupported(f"it must take one batch of float images, and takes {stated}")
        self._input = inputs[0].name
        self._dtype = _FLOAT_TYPES[inputs[0].type]
        self._is_channels_first, self._fixed_px = self._layout(inputs[0].shape)
        side = self._fixed_px or TRIAL_PX
        self._scale = 1  # for the trial
        answer = self._run(np.full((side, side, 3), 0.5, np.float32), check_scale=False)
        scale = answer.shape[0] / side
        if answer.shape[0] != answer.shape[1] or scale not in range(1, MAX_SCALE + 1):
            raise self._unsupported(f"it turns {side} px into {answer.shape[1]}x{answer.shape[0]} px")
        self._scale = int(scale)

    @property
    def scale(self) -> int:
        return self._scale

    def enhance(self, faces: FloatArray) -> FloatArray:
        """See :class:`dflcore.enhance.base.Enhancer`.

        Raises:
            Unsupported: the network fails on faces of this size.
        """
        check_faces(faces)
        return np.stack([self._enhance_one(np.asarray(face, dtype=np.float32)) for face in faces])

    def _enhance_one(self, face: FloatArray) -> FloatArray:
        side = face.shape[0]
        if self._fixed_px in (None, side):
            return self._run(face)
        assert self._fixed_px is not None
        if self._options.fit == "tile":
            return enhance_in_tiles(face, self._run, self._fixed_px, self._scale)
        fitted = np.clip(resize_lanczos(face, self._fixed_px), 0.0, 1.0)
        return np.clip(resize_lanczos(self._run(fitted), side * self._scale), 0.0, 1.0)

    def _run(self, face: FloatArray, *, check_scale: bool = True) -> FloatArray:
        """(S, S, 3) → (S * scale, S * scale, 3), both RGB in [0, 1]."""
        pixels = face[..., ::-1] if self._options.channels == "bgr" else face
        factor, offset = {"unit": (1.0, 0.0), "signed": (2.0, -1.0), "byte": (255.0, 0.0)}[self._options.range]
        values = np.asarray(pixels * factor + offset, dtype=self._dtype)
        batch = values.transpose(2, 0, 1)[None] if self._is_channels_first else values[None]
        try:
            answer = np.asarray(self._session.run(None, {self._input: np.ascontiguousarray(batch)})[0], np.float32)
        except Exception as error:  # onnxruntime's exception classes are private
            reason = str(error).strip().splitlines()[0]
            raise self._unsupported(f"it fails on {face.shape[0]} px: {reason}") from error
        if answer.ndim != 4 or answer.shape[0] != 1 or answer.shape[1 if self._is_channels_first else 3] != 3:
            raise self._unsupported(f"it answers with {answer.shape}, which is no image")
        image = answer[0].transpose(1, 2, 0) if self._is_channels_first else answer[0]
        wanted = face.shape[0] * self._scale
        if check_scale and image.shape != (wanted, wanted, 3):
            raise self._unsupported(f"it turns {face.shape[0]} px into {image.shape[1]}x{image.shape[0]} px")
        image = image[..., ::-1] if self._options.channels == "bgr" else image
        restored = (np.nan_to_num(image) - offset) / factor
        return np.asarray(np.clip(restored, 0.0, 1.0), dtype=np.float32)

    def _layout(self, shape: list[Any]) -> tuple[bool, int | None]:
        """Whether channels come first, and the side where it is fixed; open dimensions are names or None."""
        is_channels_first = shape[1] == 3 or (shape[3] != 3 and not isinstance(shape[1], int))
        if not is_channels_first and shape[3] != 3:
            raise self._unsupported(f"neither NCHW nor NHWC with three channels: {shape}")
        sides = {side for side in (shape[2:] if is_channels_first else shape[1:3]) if isinstance(side, int)}
        if len(sides) > 1:
            raise self._unsupported(f"it takes images that are not square: {shape}")
        if isinstance(shape[0], int) and shape[0] != 1:
            raise self._unsupported(f"it takes batches of {shape[0]}")
        return is_channels_first, sides.pop() if sides else None

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"The network {self._label} is no enhancer: {what}.", reason="NOT_AN_ENHANCER")


def create_onnx_enhancer(store: WeightStore, *, device: str = "cpu", argument: str = "") -> OnnxEnhancer:
    """An enhancer from ``<weights name or path>?options``.

    Args:
        store: asked first; a name it does not know is a path.
        device: ``cuda`` is used where onnxruntime offers it.

    Raises:
        InvalidInput: nothing was named, or an option is unknown.
        NotFound: no such weights and no such file.
        DataCorrupt: the file is no network.
        Unsupported: no image-to-image network, or onnxruntime is missing.
    """
    named, _, options = argument.partition("?")
    if not named:
        raise InvalidInput(
            "Say which network: onnx:<weights name or path>, for example onnx:restore.onnx?range=signed.",
            reason="BAD_ARGUMENT",
        )
    parsed = OnnxOptions.parse(options)
    path = store.find(named) if named in store.names() else Path(named)
    if not path.is_file():
        raise NotFound(
            f"There are no weights and no file {named}; `dfl weights list` shows the weights that have a name.",
            reason="WEIGHTS_MISSING",
            path=path,
        )
    return OnnxEnhancer(_open_session(path, device), parsed, path.name, file_digest(path))


def _open_session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unsupported(
            f"ONNX networks need the package onnxruntime: {error}.", reason="COMPONENT_NOT_INSTALLED", name="onnx"
        ) from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what goes wrong is raised
    providers = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # onnxruntime's exception classes are private
        raise DataCorrupt(
            f"The network {path} cannot be loaded: {error}", reason="WEIGHTS_DAMAGED", path=path
        ) from error
