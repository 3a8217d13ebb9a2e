"""What earlier runs already did for a plate, so that a run repeats nothing and trusts nothing made otherwise.

Every examined frame carries a key of the settings its faces were made with and of the file they were made from. A
frame with another key is done again, so a run with other settings or on a changed plate repeats what it must, and one
that was interrupted leaves nothing that counts as done for either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from dflcore.config.extract import ExtractSettings
from dflcore.errors import NotFound
from dflcore.frames import FrameRange
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_PADDING = re.compile(r"(?:%0?\d*d|[#@]+|<[A-Za-z]+>)")


class Ledger:
    """The state of one plate in one faceset.

    Attributes:
        stem: what the names of this plate's aligned images begin with; differs from those of other plates in the set.
    """

    def __init__(self, faceset_path: Path, plate: Plate, settings: ExtractSettings) -> None:
        self._path = faceset_path
        self._plate = plate
        digest = settings.digest()
        self._keys = {frame: _key(digest, plate.identity(frame)) for frame in plate.frames}
        self._old_names: dict[int, list[str]] = {}
        plates: list[str] = []
        try:
            with Faceset.open(faceset_path) as faceset:
                plates = list(faceset.info.plates)
                for frame, records in faceset.records_by_frame(plate.name).items():
                    self._old_names[frame] = [record.name for record in records]
        except NotFound:
            pass  # the first run into this folder
        self.stem = _unique_stem(plate.name, plates)

    def key(self, frame: int) -> str:
        """What the faces of a frame are made from: these settings and the frame's file as it was when the run began.

        A file that changes during the run thus has its frame done again by the next one.
        """
        return self._keys[frame]

    def frames_to_do(self, examined: Mapping[int, str]) -> FrameRange:
        """Frames of the plate that were not yet looked at, as they are now, with these settings.

        Args:
            examined: the keys of frames looked at by earlier runs.
        """
        return FrameRange(tuple(frame for frame in self._plate.frames if examined.get(frame) != self._keys[frame]))

    def remove_stale_images(self, frame: int, kept: Collection[str]) -> None:
        """Delete images of a frame that was done again and now has fewer faces or other names."""
        for name in self._old_names.get(frame, ()):
            if name not in kept:
                (self._path / name).unlink(missing_ok=True)

    def count(self) -> tuple[int, int]:
        """Frames of the plate with faces, and their faces, as the faceset has them now."""
        asked = set(self._plate.frames)
        with Faceset.open(self._path) as faceset:
            by_frame = faceset.records_by_frame(self._plate.name)
        found = [len(records) for frame, records in by_frame.items() if frame in asked]
        return len(found), sum(found)


def _key(settings_digest: str, identity: str) -> str:
    return hashlib.sha256(f"{settings_digest}\0{identity}".encode()).hexdigest()[:16]


def _unique_stem(plate: str, plates: list[str]) -> str:
    """``shot010`` for ``/path/shot010.####.exr``; a digest is added when an earlier plate of the set has that name."""
    stem = _stem(plate)
    earlier = plates[: plates.index(plate)] if plate in plates else plates
    if stem in {_stem(other) for other in earlier}:
        return f"{stem}-{hashlib.sha256(plate.encode()).hexdigest()[:6]}"
    return stem


def _stem(plate: str) -> str:
    name = _PADDING.sub("", Path(plate).name)
    suffix = Path(name).suffix
    name = _UNSAFE.sub("_", name.removesuffix(suffix)).strip("_-")
    return name or "plate"
