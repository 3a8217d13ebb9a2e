"""Who is painted by which model: a casting's text met with a faceset's tracks and the models themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dflcore.config.cast_text import OWN_MODEL, PLATE, Casting, Part, Role
from dflcore.errors import Internal, InvalidInput
from dflcore.frames import FrameRange
from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.merge.swapper import FaceSwapper, ModelSwapper, open_swapper
from dflcore.progress import Notice
from dflcore.types import Authorization, FaceRecord, FacesetInfo, FaceType

OpenPart = Callable[[Part], FaceSwapper]
"""Loads the model of a part that names a folder."""
_MOST_LISTED: Final = 20


def check_tracks(casting: Casting, records: Iterable[FaceRecord]) -> None:
    """Refuse roles for tracks that the plate does not have.

    Args:
        records: all faces of the plate, whatever frames are to be merged: a track may lie outside their range.

    Raises:
        InvalidInput: names every unknown track and lists the known ones with their frames.
    """
    frames: dict[int, list[int]] = {}
    for record in records:
        if record.track_id is not None:
            frames.setdefault(record.track_id, []).append(record.frame)
    unknown = sorted({track for role in casting.roles for track in role.tracks} - frames.keys())
    if not unknown:
        return
    listed = [f"{track} (frames {FrameRange.of(frames[track])})" for track in sorted(frames)[:_MOST_LISTED]]
    more = f" and {len(frames) - _MOST_LISTED} more" if len(frames) > _MOST_LISTED else ""
    known = f"it has {', '.join(listed)}{more}" if frames else "its faces have no tracks; extract it anew to get some"
    raise InvalidInput(
        f"The casting names track {', '.join(map(str, unknown))}, which the faceset does not have for this plate; "
        f"{known}.",
        reason="UNKNOWN_TRACK",
        field="cast",
        value=",".join(map(str, unknown)),
        known=",".join(map(str, sorted(frames))),
    )


def face_type_notices(cast: Cast, info: FacesetInfo, *, has_masks: bool) -> list[Notice]:
    """What a person should know when the faceset's squares are not those of the models.

    The pixels come from the plate, whatever the faceset shows of the head; only its masks may end too early.

    Args:
        has_masks: whether any face has a stored mask that is used.
    """
    has = info.face_type
    notices: dict[tuple[str, FaceType], list[Notice]] = {}
    for swapper in cast.swappers:
        wanted = swapper.face_type
        if wanted is has:
            continue
        details = {"path": info.path, "face_type": has.value, "model_face_type": wanted.value}
        converted = Notice(
            message=f"The faceset {info.path} holds {has.value} faces, the model {swapper.name} paints "
            f"{wanted.value} ones; the landmarks say where those lie in the plate.",
            reason="FACE_TYPE_CONVERTED",
            severity="info",
            details=details,
        )
        extended = Notice(
            message=f"The masks stored in {info.path} end with its {has.value} squares; beyond them the "
            f"{wanted.value} faces are masked as at the masks' edge. Change the faceset to face_type "
            f"{wanted.value} and mask it again if something in front of the face is lost.",
            reason="MASKS_EXTENDED",
            details=details,
        )
        is_short = has_masks and FACE_TYPE_CROPS[wanted].side > FACE_TYPE_CROPS[has].side
        notices[swapper.name, wanted] = [converted, extended] if is_short else [converted]
    return [notice for found in notices.values() for notice in found]


def open_cast(
    casting: Casting, own: FaceSwapper | None, device: str, *, authorize: Callable[[Path, ModelSwapper], Authorization]
) -> tuple[Cast, list[Notice]]:
    """A cast from models' folders, each loaded once however many parts it plays.

    Args:
        own: as :class:`Cast`.
        device: torch device, resolved (not ``auto``).
        authorize: says who allowed a model's face; refuses one whose permission has expired.

    Returns:
        The cast, and notices about damaged generations passed over.

    Raises:
        InvalidInput, NotFound, DataCorrupt: as :class:`Cast` and :func:`dflcore.merge.swapper.open_swapper`.
    """
    loaded: dict[str, ModelSwapper] = {}
    permissions: dict[str, Authorization] = {}
    notices: list[Notice] = []

    def open_part(part: Part) -> FaceSwapper:
        if part.model in loaded:
            return loaded[part.model].painting(part.identity, part.morph)
        swapper, found = open_swapper(Path(part.model), device, identity=part.identity, morph=part.morph)
        permissions[swapper.name] = authorize(Path(part.model), swapper)
        loaded[part.model] = swapper
        notices.extend(found)
        return swapper

    return Cast(casting, own, open_part, permissions), notices


@dataclass(frozen=True, slots=True)
class _Engagement:
    """A role's part with its model loaded; None leaves the face as it was shot."""

    role: Role | None
    part: Part
    swapper: FaceSwapper | None


class Cast:
    """A casting with its models loaded.

    A face is painted by the model of its track's role; a face without one by that of ``others``; where the casting
    says nothing of those, by the merge's own model.

    Made by :func:`open_cast` where parts are folders on this machine.

    Args:
        own: the merge's own model, with its identity and morph; None where there is none: faces it would paint stay
            as they were shot.
        open_part: called once for every part that names a folder.
        permissions: who allowed the faces of the models that ``open_part`` loads, by model's name; may be filled by it.

    Raises:
        InvalidInput: the casting asks for the merge's own model, and there is none.
        DflError: whatever ``open_part`` raises.
    """

    def __init__(
        self,
        casting: Casting,
        own: FaceSwapper | None,
        open_part: OpenPart,
        permissions: Mapping[str, Authorization] | None = None,
    ) -> None:
        if own is None and any(part.model == OWN_MODEL for part in casting.parts):
            raise InvalidInput(
                "The casting asks for the merge's own model, but the merge was given none; name a folder.",
                reason="NO_OWN_MODEL",
                field="cast",
            )
        self._own = own
        loaded: dict[Part, FaceSwapper | None] = {Part(model=PLATE): None, Part(model=OWN_MODEL): own}
        loaded |= {part: open_part(part) for part in casting.parts if part.is_folder}
        others = casting.others or Part(model=OWN_MODEL if own is not None else PLATE)
        self._others = _Engagement(None, others, loaded[others])
        self._by_track = {
            track: _Engagement(role, role.part, loaded[role.part]) for role in casting.roles for track in role.tracks
        }
        self._casting = casting
        self.permissions: Mapping[str, Authorization] = {} if permissions is None else permissions

    @classmethod
    def solo(cls, swapper: FaceSwapper) -> Cast:
        """One model that paints everybody."""
        return cls(Casting(), swapper, _open_nothing)

    def swapper_for(self, record: FaceRecord) -> FaceSwapper | None:
        """The model that paints a face, None for one that stays as it was shot."""
        return self._engagement(record).swapper

    def person_of(self, record: FaceRecord) -> str:
        """Name of a face for mattes: its role's, else ``track_<n>``, by the first track of a role of several.

        A face without a track is known by its place among the frame's: ``face_<index>``, 0 being the largest. Nothing
        follows it from frame to frame: one that is alone, or always the largest, keeps its name through a shot, but
        two that are about as large swap theirs whenever the other is larger. Extraction gives every face a track;
        only imported facesets may have none.
        """
        if record.track_id is None:
            return f"face_{record.face_index}"
        role = self._engagement(record).role
        if role is None:
            return f"track_{record.track_id}"
        return role.name or f"track_{role.tracks[0]}"

    def people(self, records: Iterable[FaceRecord]) -> tuple[str, ...]:
        """Everybody who is painted, by name, in order of their tracks; the same for whatever frames are merged.

        Args:
            records: all faces of the plate.
        """
        names: dict[str, tuple[bool, int]] = {}
        for record in records:
            if self.swapper_for(record) is not None:
                is_loose = record.track_id is None
                place = (is_loose, record.face_index if record.track_id is None else record.track_id)
                name = self.person_of(record)
                names[name] = min(names.get(name, place), place)
        return tuple(sorted(names, key=lambda name: names[name]))

    def divide(self, records: Sequence[FaceRecord]) -> list[tuple[FaceSwapper, list[FaceRecord]]]:
        """The faces to paint, by the model that paints them; faces that stay as they were shot are left out."""
        groups: dict[int, tuple[FaceSwapper, list[FaceRecord]]] = {}
        for record in records:
            swapper = self.swapper_for(record)
            if swapper is not None:
                groups.setdefault(id(swapper), (swapper, []))[1].append(record)
        return list(groups.values())

    def identify(self, records: Iterable[FaceRecord]) -> tuple[str, ...]:
        """What decides who paints a frame's faces, for its key: of a face that the merge's own model paints, nothing.

        Digests count, not folders: a model that was moved paints the same, one that was trained on does not.
        """
        notes: list[str] = []
        for record in sorted(records, key=lambda record: record.face_index):
            one = self._engagement(record)
            if one.part.is_folder and one.swapper is not None:
                notes.append(" ".join([str(record.face_index), *_row(one)]))
            elif one.swapper is None:
                notes.append(f"{record.face_index} {PLATE}")
        return tuple(notes)

    @property
    def swappers(self) -> tuple[FaceSwapper, ...]:
        """Every model once, the merge's own first; it is left out where no face can be its."""
        engaged = [self._others, *self._by_track.values()]
        used = {id(one.swapper): one.swapper for one in engaged if one.swapper is not None}
        own = [] if self._own is None else [used.pop(id(self._own), None)]
        return tuple(swapper for swapper in [*own, *used.values()] if swapper is not None)

    @property
    def digest(self) -> str:
        """The one model's digest where there is but one, else one over all of them and whom they paint."""
        if not self._by_track and self._others.part.model == OWN_MODEL and self._own is not None:
            return self._own.digest
        rows = {str(track): _row(one) for track, one in self._by_track.items()}
        text = json.dumps({**rows, "others": _row(self._others)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def names(self) -> Mapping[str, str]:
        """Whom each model paints, for headers: ``track 3`` or the role's name, or ``others`` → the model's name."""
        named: dict[str, str] = {}
        for one in self._by_track.values():
            if one.role is not None:
                who = one.role.name or str(one.role).partition(" = ")[0]
                named[who] = PLATE if one.swapper is None else one.swapper.name
        named["others"] = PLATE if self._others.swapper is None else self._others.swapper.name
        return named

    @property
    def title(self) -> str:
        """:attr:`names` in a line; of a model that paints everybody, its name alone."""
        named = self.names
        return named["others"] if len(named) == 1 else "; ".join(f"{who}: {name}" for who, name in named.items())

    def _engagement(self, record: FaceRecord) -> _Engagement:
        return self._others if record.track_id is None else self._by_track.get(record.track_id, self._others)


def _open_nothing(part: Part) -> FaceSwapper:
    raise Internal(f"A part without a folder was to be opened: {part}.")


def _row(one: _Engagement) -> list[str]:
    if one.swapper is None:
        return [PLATE]
    return [one.swapper.digest, one.swapper.face_type.value, one.part.identity, repr(one.part.morph)]
