"""What is remembered of a swap: a marker on the clip finds the job, a small file beside the result says what from.

The marker is saved with the project and survives the script; its custom data is ours, so that the artist may rename,
recolor or move it, and deleting it only forgets.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from dflhost.plates import frame_path, frames_on_disk, sequence_pattern
from dflhost.words import MENU

from .clips import Clip
from .host import ask, refusal

_PREFIX = "dfl:"
_COLOR, _STALE_COLOR = "Cyan", "Yellow"
_TRIES = 24
_KEY_SUFFIX = ".resolve.json"


@dataclass(frozen=True)
class Mark:
    """A clip's newest swap.

    Attributes:
        job: :attr:`dflhost.jobs.Job.reference`. is_running: its end was not seen yet.
        output: of the newest result, with the version filled in; empty where there is none yet.
        place: where the result went. rendering: how Resolve rendered the plate; empty where its own files were sent.
        goal: of a job that runs, see :mod:`dflresolve.orders`. first: the plate's number of the clip's first frame,
            -1 where it is not known.
        made_of: digests of the model and of the settings, of a job that runs. is_stale: it was found out of date.
    """

    job: str
    output: str = ""
    place: str = ""
    rendering: str = ""
    is_running: bool = False
    goal: str = "swap"
    first: int = -1
    made_of: str = ""
    is_stale: bool = False


def read_mark(clip: Clip) -> Mark | None:
    """The clip's mark; None where it was never swapped. Raises HostError."""
    found = _find(clip.item)
    return found[1] if found else None


def write_mark(clip: Clip, mark: Mark, sentence: str) -> None:
    """Remember on the clip; an older mark of ours makes way.

    Raises:
        HostError: the marker did not get onto the clip (``RESOLVE_REFUSED``): the job goes on, but has to be found by
            its result.
    """
    old = _find(clip.item)
    if old:
        ask(clip.item, "DeleteMarkerAtFrame", old[0])
    data = _PREFIX + json.dumps(asdict(mark), separators=(",", ":"), ensure_ascii=False)
    markers = ask(clip.item, "GetMarkers")
    taken = {int(float(frame)) for frame in markers} if isinstance(markers, dict) else set()
    for frame in [number for number in range(clip.duration + _TRIES) if number not in taken][:_TRIES]:
        color = _STALE_COLOR if mark.is_stale else _COLOR
        if ask(clip.item, "AddMarker", frame, color, MENU, sentence, 1, data):
            break
    if _find(clip.item) is None:
        raise refusal("The job cannot be remembered on the clip", "AddMarker")


def write_key(output: str, key: str) -> None:
    """Leave what a result was made from beside its frames. A folder that cannot be written to only costs *Update*."""
    with contextlib.suppress(OSError), open(beside(output, _KEY_SUFFIX), "w", encoding="utf-8") as file:
        json.dump({"key": key}, file)


def read_key(output: str) -> str:
    """See :func:`write_key`; empty where there is none."""
    try:
        with open(beside(output, _KEY_SUFFIX), encoding="utf-8") as file:
            return str(json.load(file)["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def next_folder(parent: str, name: str) -> str:
    """A folder beside others of its kind that is not there yet: ``name_001``, ``name_002``..."""
    number = 1
    while os.path.exists(os.path.join(parent, f"{name}_{number:03d}")):
        number += 1
    return os.path.join(parent, f"{name}_{number:03d}")


def newest_plates(parent: str, name: str, count: int) -> str:
    """Pattern of the newest folder of this name that has so many frames; empty where there is none."""
    with contextlib.suppress(OSError):
        for folder in sorted((one for one in os.listdir(parent) if one[:-4] == name), reverse=True):
            files = sorted(one for one in os.listdir(os.path.join(parent, folder)) if one.lower().endswith(".exr"))
            pattern = sequence_pattern(os.path.join(parent, folder, files[0])) if files else ""
            if pattern and len(frames_on_disk(pattern)) == count == len(files):
                return pattern
    return ""


def beside(output: str, suffix: str) -> str:
    """A file beside a result's frames: ``…/v001/shot_swap.setting``."""
    folder, name = os.path.split(frame_path(output, 0))
    return os.path.join(folder, f"{name.split('.')[0]}{suffix}")


def _find(item: Any) -> tuple[Any, Mark] | None:
    markers = ask(item, "GetMarkers")
    for frame, marker in (markers if isinstance(markers, dict) else {}).items():
        data = str(marker.get("customData") or "") if isinstance(marker, dict) else ""
        if data.startswith(_PREFIX):
            with contextlib.suppress(ValueError, TypeError):
                return frame, Mark(**json.loads(data[len(_PREFIX) :]))
    return None
