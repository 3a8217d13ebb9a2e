"""What a model of the reference is, in our words: which network, with which numbers, for which faces.

Source: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied): options (fact sheet §7), wiring (§5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dflcore.config.train import LETTERS
from dflcore.errors import DataCorrupt, Unsupported
from dflcore.types import FaceType

SAEHD: Final = "SAEHD"
AMP: Final = "AMP"
QUICK96: Final = "Quick96"
CLASSES: Final = (SAEHD, AMP, QUICK96)

FACE_TYPES: Final = {
    "h": FaceType.HALF,
    "mf": FaceType.MIDFULL,
    "f": FaceType.FULL,
    "wf": FaceType.WHOLE,
    "head": FaceType.HEAD,
}
DF_PARTS: Final = ("encoder", "inter", "decoder_src", "decoder_dst")
LIAE_PARTS: Final = ("encoder", "inter_AB", "inter_B", "decoder")
AMP_PARTS: Final = ("encoder", "inter_src", "inter_dst", "decoder")
_WIRINGS: Final = {"df": DF_PARTS, "liae": LIAE_PARTS}
_DEFAULT_DIMS: Final = {"ae_dims": 256, "e_dims": 64, "d_dims": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyNetwork:
    """A network of the reference.

    Attributes:
        preset: ours of the same wiring: ``df``, ``liae``, ``amp`` or ``quick96``.
        network: values of the preset's network settings.
        face_type: what it paints; None where the options name one that is not known.
        letters: of ``u d t c``, those that apply.
        parts: names of the files that hold its weights, as they stand behind the class name.
    """

    preset: str
    network: Mapping[str, Any]
    face_type: FaceType | None
    letters: str
    parts: tuple[str, ...]


def interpret_options(class_name: str, options: Mapping[str, Any], path: Path) -> LegacyNetwork:
    """The network that a model's options describe; what old versions did not ask yet gets its later default.

    Args:
        class_name: one of :data:`CLASSES`.
        path: of the file the options come from, for messages.

    Raises:
        DataCorrupt: an option is of another kind than the reference writes.
        Unsupported: a network that has no counterpart here.
    """
    if class_name == QUICK96:
        return LegacyNetwork(preset="quick96", network={}, face_type=FaceType.FULL, letters="ud", parts=DF_PARTS)
    numbers = {name: _whole(options, name, default, path) for name, default in _DEFAULT_DIMS.items()}
    numbers["d_mask_dims"] = _whole(options, "d_mask_dims", _even(numbers["d_dims"] // 3), path)
    if class_name == AMP:
        network: dict[str, Any] = {
            **numbers,
            "resolution": _whole(options, "resolution", 224, path),
            "inter_dims": _whole(options, "inter_dims", 1024, path),
            "morph_factor": _fraction(options, "morph_factor", 0.5, path),
        }
        face_type = _face_type(options, "wf")
        return LegacyNetwork(preset="amp", network=network, face_type=face_type, letters="udt", parts=AMP_PARTS)
    wiring, letters = _split_architecture(options.get("archi", "liae-ud"), path)
    switches = {setting: letter in letters for letter, setting in LETTERS.items()}
    return LegacyNetwork(
        preset=wiring,
        network={**numbers, **switches, "resolution": _whole(options, "resolution", 128, path)},
        face_type=_face_type(options, "f"),
        letters=letters,
        parts=_WIRINGS[wiring],
    )


def _split_architecture(value: Any, path: Path) -> tuple[str, str]:
    if not isinstance(value, str):
        raise _damaged("archi", value, path)
    wiring, _, letters = value.strip().lower().partition("-")
    if wiring not in _WIRINGS or not set(letters) <= set(LETTERS):
        raise Unsupported(
            f"{path} describes the network {value[:40]!r}, which cannot be taken over; df and liae with the letters "
            f"{', '.join(LETTERS)} can, and so can AMP and Quick96 models.",
            reason="NETWORK_NOT_SUPPORTED",
            path=path,
        )
    return wiring, letters


def _face_type(options: Mapping[str, Any], default: str) -> FaceType | None:
    value = options.get("face_type", default)
    return FACE_TYPES.get(value) if isinstance(value, str) else None


def _whole(options: Mapping[str, Any], name: str, default: int, path: Path) -> int:
    value = options.get(name, default)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise _damaged(name, value, path)
    return int(value)


def _fraction(options: Mapping[str, Any], name: str, default: float, path: Path) -> float:
    value = options.get(name, default)
    if type(value) not in (int, float):
        raise _damaged(name, value, path)
    return float(value)


def _even(value: int) -> int:
    return value + value % 2


def _damaged(name: str, value: Any, path: Path) -> DataCorrupt:
    return DataCorrupt(
        f"{path} is damaged: its option {name} is a {type(value).__name__}. Take the file from a backup of the model.",
        reason="MODEL_DATA_DAMAGED",
        path=path,
        field=name,
    )
