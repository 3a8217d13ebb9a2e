"""What earlier runs already did for a plate, so that a run repeats nothing and trusts nothing made otherwise.

The faceset's settings carry, beside the values of the run, a digest per plate of the settings its faces were made
with. A run with other settings does every frame again; until it has finished the old digest stays, so that an
interrupted one is not taken for done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from dflcore.config.extract import ExtractSettings
from dflcore.errors import NotFound
from dflcore.frames import FrameRange
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.plate import Plate
from dflcore.types import Authorization, FaceType

DIGESTS_KEY = "digest_by_plate"
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
        self._digest = settings.digest()
        self._values: dict[str, object] = {**settings.values()}
        self._old_names: dict[int, list[str]] = {}
        plates: list[str] = []
        earlier: dict[str, object] = {}
        try:
            with Faceset.open(faceset_path) as faceset:
                info = faceset.info
                plates = list(info.plates)
                earlier = info.settings
                for frame, records in faceset.records_by_frame(plate.name).items():
                    self._old_names[frame] = [record.name for record in records]
        except NotFound:
            pass  # the first run into this folder
        digests = earlier.get(DIGESTS_KEY)
        self._digests: dict[str, str] = dict(digests) if isinstance(digests, dict) else {}
        self._earlier_values = {key: value for key, value in earlier.items() if key != DIGESTS_KEY}
        self._is_new = plate.name not in plates
        self._is_same = self._digests.get(plate.name) == self._digest
        self.stem = _unique_stem(plate.name, plates)

    def settings_while_running(self) -> dict[str, object]:
        """What the faceset says while the run goes on."""
        if self._is_new or self._is_same:
            return {**self._values, DIGESTS_KEY: {**self._digests, self._plate.name: self._digest}}
        return {**self._earlier_values, DIGESTS_KEY: self._digests}

    def frames_to_do(self, examined: Collection[int]) -> FrameRange:
        """Frames of the plate that were not yet looked at with these settings."""
        if not self._is_same:
            return self._plate.frames
        return FrameRange(tuple(frame for frame in self._plate.frames if frame not in examined))

    def remove_stale_images(self, frame: int, kept: Collection[str]) -> None:
        """Delete images of a frame that was done again and now has fewer faces or other names."""
        for name in self._old_names.get(frame, ()):
            if name not in kept:
                (self._path / name).unlink(missing_ok=True)

    def complete(self, face_type: FaceType, aligned_size: int) -> None:
        """Every frame asked for was done with these settings."""
        if self._is_new or self._is_same:
            return
        settings = {**self._values, DIGESTS_KEY: {**self._digests, self._plate.name: self._digest}}
        FacesetWriter(
            self._path,
            face_type=face_type,
            aligned_size=aligned_size,
            settings=settings,
            authorization=Authorization(),
        ).close()

    def count(self) -> tuple[int, int]:
        """Frames of the plate with faces, and their faces, as the faceset has them now."""
        asked = set(self._plate.frames)
        with Faceset.open(self._path) as faceset:
            by_frame = faceset.records_by_frame(self._plate.name)
        found = [len(records) for frame, records in by_frame.items() if frame in asked]
        return len(found), sum(found)


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
