"""Where a new model may be made: a folder of its own, so that it never mixes with other people's work."""

from __future__ import annotations

from pathlib import Path

from dflcore.errors import Conflict
from dflcore.io.faceset import INDEX_NAME
from dflcore.models.layout import DESCRIPTION_NAME

_LEGACY_PATTERN = "*_data.dat"
"""Every model of the reference has one such file."""


def check_free(path: Path) -> None:
    """Refuse a path that something else is at; hidden files do not count.

    Raises:
        Conflict: it is a file, lies inside a model, or is a folder that holds something, a model for instance.
    """
    outer = next((parent for parent in path.parents if (parent / DESCRIPTION_NAME).is_file()), None)
    if outer is not None:
        raise _conflict(path, f"{path} lies inside the model {outer}; name a folder outside of it.", "INSIDE_A_MODEL")
    if not path.exists():
        return
    if not path.is_dir():
        raise _conflict(path, f"{path} is a file; name a new folder for the model.", "NOT_A_FOLDER")
    if (path / DESCRIPTION_NAME).exists():
        raise _conflict(path, f"{path} holds a model already; name a new folder.", "MODEL_EXISTS")
    if (path / INDEX_NAME).exists():
        raise _conflict(path, f"{path} is a faceset; name a new folder for the model.", "FOLDER_NOT_EMPTY")
    if next(path.glob(_LEGACY_PATTERN), None) is not None:
        message = f"{path} holds a model of another program; `dfl model import` takes it over into a new folder."
        raise _conflict(path, message, "FOLDER_NOT_EMPTY")
    if any(not entry.name.startswith(".") for entry in path.iterdir()):
        message = f"{path} holds other things and no model; name a new folder for the model."
        raise _conflict(path, message, "FOLDER_NOT_EMPTY")


def _conflict(path: Path, message: str, reason: str) -> Conflict:
    return Conflict(message, reason=reason, path=path)
