"""Model folders of the reference, read without executing anything (fact sheet §2.5).

A folder holds the files of any number of models side by side; those of one begin with its name and class::

    new_SAEHD_data.dat          pickle: iteration, options, losses, pictures for the preview
    new_SAEHD_encoder.npy ...   pickles, in spite of the suffix: variable → array, one file per part of the network
    new_SAEHD_src_dst_opt.npy   the optimiser; not read

Source: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.exchange.legacy_options import CLASSES, LegacyNetwork, interpret_options
from dflcore.io.legacy.pickle_values import Limits, Value, iterate_items
from dflcore.io.legacy.reading import translate_read_errors
from dflcore.types import FloatArray

DATA_SUFFIX: Final = "_data.dat"
OPTIMIZER_PART: Final = "src_dst_opt"
DATA_LIMITS: Final = Limits(
    total_bytes=4 << 30,
    values=12_000_000,
    piece_bytes=1 << 30,
    held_bytes=4 << 30,
    memo=6_000_000,
    bytes_per_memo=8,
    holder="model",
)
"""Two million iterations of losses, and batches of preview pictures of 1024 px."""
WEIGHT_LIMITS: Final = Limits(
    total_bytes=16 << 30, values=20_000, piece_bytes=8 << 30, held_bytes=16 << 30, depth=4, holder="model"
)
"""A few dozen arrays; the first dense layer of a large model alone has gigabytes."""
_RESTORE: Final = "Take the file from a backup of the model (the reference keeps some in its _autobackups folder)."


@dataclass(frozen=True, slots=True, order=True)
class LegacyName:
    """A model of a folder.

    Attributes:
        name: what its maker called it. class_name: ``SAEHD``, ``AMP`` or ``Quick96``.
    """

    name: str
    class_name: str

    def __str__(self) -> str:
        return f"{self.name}_{self.class_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyModel:
    """A model of the reference.

    Attributes:
        path: its folder.
        name, class_name: see :class:`LegacyName`.
        iteration: finished steps.
        options: what its maker was asked, by the reference's names.
        losses: (N, 2) float64: of source and target, one row per step, the last of them for the last step.
        network: what the options describe.
        parts: part of the network → variable, as named in the file → float32 array, read-only, as shaped in the file.
        has_optimizer: the optimiser's state lies beside; it is not read.
    """

    path: Path
    name: str
    class_name: str
    iteration: int
    options: Mapping[str, Value]
    losses: NDArray[np.float64]
    network: LegacyNetwork
    parts: Mapping[str, Mapping[str, FloatArray]]
    has_optimizer: bool

    def part_path(self, part: str) -> Path:
        """The file of one part of the network."""
        return _part_path(self.path, LegacyName(self.name, self.class_name), part)


def list_legacy_models(folder: Path) -> list[LegacyName]:
    """The models of a folder that can be read, by name.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}.", reason="MODEL_NOT_FOUND", path=folder)
    found = []
    with translate_read_errors(folder):
        for entry in folder.iterdir():
            name, separator, rest = entry.name.partition("_")
            class_name = rest.removesuffix(DATA_SUFFIX)
            if separator and rest.endswith(DATA_SUFFIX) and class_name in CLASSES and entry.is_file():
                found.append(LegacyName(name, class_name))
    return sorted(found)


def read_legacy_model(folder: Path, name: str = "", on_part: Callable[[str], None] | None = None) -> LegacyModel:
    """A model of the reference with all its weights.

    Args:
        folder: with the model's files; one of its rolling backups will do.
        name: which of several models, as ``name`` or ``name_class``; empty takes the only one.
        on_part: told of each part before it is read; what it raises ends the reading.

    Raises:
        NotFound: there is no such model, or a file of it is missing; lists the models there are.
        Conflict: there are several; lists them.
        InvalidInput: a file asks for something to be run (``HOSTILE_PICKLE``).
        DataCorrupt: a file is damaged; names it.
        Unsupported: a network that has no counterpart here.
    """
    folder = Path(folder)
    which = choose_model(folder, name)
    data_path = folder / f"{which}{DATA_SUFFIX}"
    data = _read_data(data_path)
    options = data.get("options", {})
    if not isinstance(options, dict):
        raise _damaged(data_path, "its options are no dictionary")
    network = interpret_options(which.class_name, options, data_path)
    parts = {}
    for part in network.parts:
        if on_part is not None:
            on_part(part)
        parts[part] = read_weights(_part_path(folder, which, part))
    return LegacyModel(
        path=folder,
        name=which.name,
        class_name=which.class_name,
        iteration=_iteration(data, data_path),
        options=options,
        losses=_losses(data.get("loss_history")),
        network=network,
        parts=parts,
        has_optimizer=_part_path(folder, which, OPTIMIZER_PART).is_file(),
    )


def choose_model(folder: Path, name: str = "") -> LegacyName:
    """The one model that is meant. Raises as :func:`read_legacy_model`."""
    found = list_legacy_models(folder)
    wanted = [one for one in found if name in ("", one.name, str(one))]
    known = ", ".join(map(str, found))
    if not found:
        raise NotFound(
            f"{folder} holds no SAEHD, AMP or Quick96 model of the reference: there is no file ending in "
            f"{DATA_SUFFIX}. Name the folder with the model's files.",
            reason="MODEL_NOT_FOUND",
            path=folder,
        )
    if not wanted:
        raise NotFound(
            f"{folder} holds no model {name!r}; it holds {known}.", reason="MODEL_NOT_FOUND", path=folder, field="name"
        )
    if len(wanted) > 1:
        raise Conflict(
            f"{folder} holds several models: {known}. Say which one is meant with --name.",
            reason="SEVERAL_MODELS",
            path=folder,
            field="name",
            names=",".join(map(str, wanted)),
        )
    return wanted[0]


def read_weights(path: Path) -> dict[str, FloatArray]:
    """The variables of one part of a network, by name.

    Raises:
        NotFound, InvalidInput, DataCorrupt: as :func:`read_legacy_model`.
    """
    weights: dict[str, FloatArray] = {}
    for name, value in _read_dictionary(path, WEIGHT_LIMITS).items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise _damaged(path, f"{name[:80]} is no array of floating-point numbers")
        if not np.isfinite(value).all():
            raise _damaged(
                path, f"{name[:80]} holds numbers that are not finite, the model had broken down in training"
            )
        weights[name] = value.astype(np.float32, copy=False)
    if not weights:
        raise _damaged(path, "it holds no weights")
    return weights


def _read_data(path: Path) -> dict[str, Value]:
    return _read_dictionary(path, DATA_LIMITS, wanted=("iter", "options", "loss_history"))


def _read_dictionary(path: Path, limits: Limits, wanted: tuple[str, ...] = ()) -> dict[str, Value]:
    if not path.is_file():
        raise NotFound(f"The file {path} of the model is missing. {_RESTORE}", reason="MODEL_FILE_MISSING", path=path)
    values: dict[str, Value] = {}
    with translate_read_errors(path), open(path, "rb") as stream:
        if not any(stream.read(64)):
            raise _damaged(path, "it is empty or holds zeros only, as after a power cut")
        stream.seek(0)
        try:
            for item in iterate_items(stream, path.stat().st_size, str(path), limits):
                if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
                    raise _damaged(path, "it is no dictionary of names")
                if not wanted or item[0] in wanted:
                    values[item[0]] = item[1]
        except InvalidInput:
            raise
        except DflError as error:
            if error.reason == "MODEL_FILE_DAMAGED":
                raise
            raise DataCorrupt(f"{error.message} {_RESTORE}", reason=error.reason, path=path) from error
    return values


def _iteration(data: Mapping[str, Value], path: Path) -> int:
    value = data.get("iter", 0)
    if type(value) is not int or value < 0:
        raise _damaged(path, f"its iteration is a {type(value).__name__}")
    return int(value)


def _losses(value: Any) -> NDArray[np.float64]:
    """Losses are a help for people, no part of the network: rows that are none are left out."""
    rows = [row for row in value if _is_loss(row)] if isinstance(value, list) else []
    return np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)


def _is_loss(row: Any) -> bool:
    return isinstance(row, (list, tuple)) and len(row) >= 2 and all(type(one) in (int, float) for one in row[:2])


def _part_path(folder: Path, which: LegacyName, part: str) -> Path:
    return folder / f"{which}_{part}.npy"


def _damaged(path: Path, what: str) -> DataCorrupt:
    return DataCorrupt(f"{path} is damaged: {what}. {_RESTORE}", reason="MODEL_FILE_DAMAGED", path=path)
