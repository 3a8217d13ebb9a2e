"""Which person of a plan belongs into which faceset of a folder with one per person.

People are numbered anew in every plan, by how often they are seen; their folders must not be: a folder holds one
person, over all plates and however many frames become known later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dflcore.extract.corrections import overlap
from dflcore.extract.ledger import SAME_FACE_OVERLAP
from dflcore.extract.plan import Plan, PlannedFace
from dflcore.io.faceset import INDEX_NAME, Faceset
from dflcore.types import Box, FloatArray

PERSON_FOLDER = "person_{:02d}"
_PERSON_NAME = re.compile(r"person_(\d{2,6})")


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """The person of a folder.

    Attributes:
        boxes: by frame, where the plate at hand shows them.
        descriptor: mean over all faces; None where they have none of this run's encoder.
    """

    boxes: Mapping[int, Sequence[Box]]
    descriptor: FloatArray | None


def person_folder(folder: Path, number: int) -> Path:
    """Where a person's faceset lies."""
    return folder / PERSON_FOLDER.format(number)


def known_numbers(folder: Path) -> list[int]:
    """Numbers of the facesets of people there are, ascending."""
    found = (_PERSON_NAME.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    numbers = {int(match[1]) for match in found if match}
    return sorted(number for number in numbers if (person_folder(folder, number) / INDEX_NAME).is_file())


def number_people(
    folder: Path, plate: str, plan: Plan, *, encoder: str, same_person_distance: float
) -> tuple[dict[int, int], list[int]]:
    """Give every person of a plan the number of their folder.

    Somebody whose faces of this plate lie in a folder already stays there; else the folder whose faces are alike is
    theirs; else they get a new one.

    Args:
        encoder: name of the identity encoder the plan's descriptors come from, empty for none.

    Returns:
        person of the plan → number, and the numbers of other folders that hold faces of this plate.

    Raises:
        DataCorrupt, Conflict: a faceset in the folder cannot be read.
    """
    known = {number: _read(person_folder(folder, number), plate, encoder) for number in known_numbers(folder)}
    people = {person: plan.of_person(person) for person in plan.person_ids}
    numbers: dict[int, int] = {}
    shared = [
        (_shared_faces(faces, one.boxes), person, n) for person, faces in people.items() for n, one in known.items()
    ]
    for count, person, number in sorted(shared, key=lambda one: (-one[0], one[1:])):
        if count and person not in numbers and number not in numbers.values():
            numbers[person] = number
    descriptors = {person: _mean([f.sighting.identity for faces in shown.values() for f in faces])
                   for person, shown in people.items()}  # fmt: skip
    apart = [
        (_distance(descriptors[person], one.descriptor), person, n) for person in people for n, one in known.items()
    ]
    for distance, person, number in sorted(apart):
        if distance < same_person_distance and person not in numbers and number not in numbers.values():
            numbers[person] = number
    for person in people:
        if person not in numbers:
            taken = {*known, *numbers.values()}
            numbers[person] = next(number for number in range(1, len(taken) + 2) if number not in taken)
    return numbers, [number for number, one in known.items() if one.boxes and number not in numbers.values()]


def _read(path: Path, plate: str, encoder: str) -> _Known:
    boxes: dict[int, list[Box]] = {}
    total: FloatArray | None = None
    count = 0
    with Faceset.open(path) as faceset:
        is_comparable = bool(encoder) and faceset.info.settings.get("identity_encoder") == encoder
        for record in faceset.every_record(plate):
            boxes.setdefault(record.frame, []).append(record.box)
        for record in faceset.records() if is_comparable else ():
            if record.identity is not None and (total is None or total.shape == record.identity.shape):
                total = record.identity if total is None else total + record.identity
                count += 1
    return _Known(boxes, None if total is None else total / np.float32(count))


def _shared_faces(faces: Mapping[int, Sequence[PlannedFace]], boxes: Mapping[int, Sequence[Box]]) -> int:
    """In how many frames the two show the same face."""
    return sum(
        any(overlap(face.sighting.box, box) >= SAME_FACE_OVERLAP for face in shown for box in boxes.get(frame, ()))
        for frame, shown in faces.items()
    )


def _mean(descriptors: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [one for one in descriptors if one is not None]
    return np.mean(np.stack(known), axis=0, dtype=np.float32) if known else None


def _distance(a: FloatArray | None, b: FloatArray | None) -> float:
    return np.inf if a is None or b is None or a.shape != b.shape else float(np.linalg.norm(a - b))
