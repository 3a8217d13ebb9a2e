"""``python -m dfldaemon.query_worker``: answers short questions for the daemon; see :mod:`dfldaemon.queries`.

A question is a line ``{"type": <question>, ...arguments}``; the answer is ``{"type": "answer", "answer": <base64 of a
serialized response>}`` or ``{"type": "failed", "error": ...}``. Libraries are loaded with the first question that
needs them.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from dflcore.errors import DflError, Internal, InvalidInput, NotFound, ResourceExhausted
from dfldaemon.convert import (
    authorization_to_message,
    correction_to_message,
    face_to_message,
    faceset_to_message,
    timestamp,
)
from dfldaemon.jobs import ErrorReport
from dfldaemon.model_facts import read_model_backups, read_model_facts
from dfldaemon.worker_channel import Channel, die_with_parent, name_process
from dflproto.v1 import common_pb2, faceset_service_pb2, merge_service_pb2, model_service_pb2

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Half of what a message may hold."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""What a message may hold."""
MAX_TOKEN = 20
"""Digits of the largest frame number, and a sign."""


def answer_faceset(path: str) -> Message:
    """Raises NotFound, DataCorrupt."""
    from dflcore.io.faceset import Faceset

    with Faceset.open(Path(path)) as faceset:
        return faceset_service_pb2.GetFacesetResponse(faceset=faceset_to_message(faceset.info))


def answer_faces(
    path: str, size: int, page_token: str, *, where: str = "", sort_by: str = "", reverse: int = 0, view: str = ""
) -> Message:
    """A page that starts after the face named by the token. Raises NotFound, DataCorrupt, InvalidInput."""
    from dflcore.io.faceset import Faceset

    with Faceset.open(Path(path)) as faceset:
        names, values = faceset.names, dict[str, float]()
        if where or sort_by or view:
            names, values = _selected(Path(path), where=where, sort_by=sort_by, reverse=bool(reverse), view=view)
        first = 0
        if page_token:
            if page_token not in names:
                raise InvalidInput(
                    "The face at which this page starts is gone; list from the first page.",
                    reason="BAD_PAGE",
                    field="page_token",
                )
            first = names.index(page_token) + 1
        page = names[first : first + size]
        faces = list(_fitting(face_to_message(record, values.get(record.name)) for record in faceset.records(page)))
    is_last = first + len(faces) >= len(names)
    token = "" if is_last or not faces else faces[-1].name
    return faceset_service_pb2.ListFacesResponse(faces=faces, next_page_token=token, total_count=len(names))


def _fitting(faces: Iterable[faceset_service_pb2.Face]) -> Iterator[faceset_service_pb2.Face]:
    """As many of the first ones as one message takes, one at least: long names make large faces."""
    left = MAX_PAGE_BYTES
    for face in faces:
        yield face
        left -= face.ByteSize()
        if left <= 0:
            return


def answer_tracks(path: str) -> Message:
    """Raises NotFound, DataCorrupt."""
    from dflcore.io.faceset import Faceset
    from dflcore.types import FaceRecord, Origin

    tracks: dict[tuple[str, int], list[FaceRecord]] = {}
    with Faceset.open(Path(path)) as faceset:
        for record in faceset.records():
            if record.track_id is not None:
                tracks.setdefault((record.plate, record.track_id), []).append(record)
    return faceset_service_pb2.ListTracksResponse(
        tracks=[
            faceset_service_pb2.Track(
                plate=plate,
                track_id=track_id,
                first_frame=min(record.frame for record in records),
                last_frame=max(record.frame for record in records),
                face_count=len(records),
                interpolated_count=sum(record.origin is Origin.INTERPOLATED for record in records),
                sample_face=max(records, key=lambda record: record.sharpness).name,
            )
            for (plate, track_id), records in sorted(tracks.items())
        ]
    )


def answer_curation() -> Message:
    """Fields of filters, sorts and operations."""
    from dflcore.config.curate import OPERATIONS
    from dflcore.curate.fields import FIELDS
    from dflcore.curate.sorts import SORTS

    return faceset_service_pb2.DescribeCurationResponse(
        fields=[
            faceset_service_pb2.FaceField(
                name=field.name, unit=field.unit, help=field.help, needs_measure=field.needs_pixels
            )
            for field in FIELDS.values()
        ],
        sorts=[
            faceset_service_pb2.FaceSort(name=sort.name, help=sort.help, needs_measure=sort.needs_pixels)
            for sort in SORTS.values()
        ],
        operations=[
            faceset_service_pb2.Operation(
                name=name,
                help=operation.help,
                other_help=operation.other,
                other_optional=operation.is_other_optional,
                output_help=operation.output,
                output_optional=operation.is_output_optional,
            )
            for name, operation in OPERATIONS.items()
        ],
    )


def answer_correct(path: str, plate: str, corrections: str, add: int, forget: str) -> Message:
    """Raises InvalidInput for a correction that cannot be read, NotFound."""
    from dflcore.extract.corrections import parse_corrections
    from dflcore.extract.sightings import SightingStore

    folder = _sightings_folder(path)
    parsed = parse_corrections(json.loads(corrections), where="the request")
    with SightingStore.open(folder) as store:
        named = _plate_named(store.plates(), plate)
        frames = store.correct(named, parsed, replace=not add)
        forgotten = json.loads(forget)
        store.forget_corrections(named, forgotten)
    return faceset_service_pb2.CorrectFacesResponse(frames=sorted({*frames, *forgotten}))


def answer_corrections(path: str, plate: str) -> Message:
    """Raises NotFound, InvalidInput."""
    from dflcore.extract.sightings import SIGHTINGS_NAME, SightingStore

    folder = _sightings_folder(path)
    if not (folder / SIGHTINGS_NAME).is_file():  # looking makes no file
        return faceset_service_pb2.ListCorrectionsResponse()
    with SightingStore.open(folder) as store:
        plates = store.plates()
        found = store.corrections(_plate_named(plates, plate)) if plates or plate else {}
    return faceset_service_pb2.ListCorrectionsResponse(
        corrections=[correction_to_message(one.values()) for _, stated in sorted(found.items()) for one in stated]
    )


def _sightings_folder(path: str) -> Path:
    """The folder, if extractions look for corrections there. Raises NotFound, InvalidInput."""
    from dflcore.extract.sightings import SIGHTINGS_NAME
    from dflcore.io.faceset import INDEX_NAME

    folder = _faceset_folder(path)
    above = folder.parent
    is_one_of_people = (folder / INDEX_NAME).is_file() and not (above / INDEX_NAME).is_file()
    if is_one_of_people and not (folder / SIGHTINGS_NAME).is_file() and (above / SIGHTINGS_NAME).is_file():
        raise InvalidInput(
            f"{folder} is the faceset of one of several people; corrections concern all of them: name {above}.",
            reason="PERSON_OF_SEVERAL",
            path=path,
        )
    return folder


def _faceset_folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise NotFound(
            f"There is no faceset folder {folder}; make one with `dfl extract`.", reason="FACESET_NOT_FOUND", path=path
        )
    return folder


def _plate_named(plates: Sequence[str], plate: str) -> str:
    """The plate meant; the only one where none is named. Raises InvalidInput."""
    if plate:
        return plate
    if len(plates) != 1:
        listed = ", ".join(plates) if plates else "none yet"
        raise InvalidInput(
            f"Name the plate the corrections are for; the faceset knows {listed}.",
            reason="PLATE_MISSING",
            field="plate",
        )
    return plates[0]


def _selected(path: Path, *, where: str, sort_by: str, reverse: bool, view: str) -> tuple[list[str], dict[str, float]]:
    """Names in the order asked for, and what they were sorted by."""
    from dflcore.curate.operations import select_faces

    selection = select_faces(path, where=where, sort_by=sort_by, reverse=reverse, view=view)
    return list(selection.names), dict(selection.values)


def answer_model(path: str) -> Message:
    """Raises NotFound, DataCorrupt."""
    from dflcore.models.checkpoint import ModelFolder

    description = ModelFolder.open(Path(path)).description
    generations = read_model_facts(Path(path))
    message = model_service_pb2.Model(
        path=path,
        preset=description.preset,
        resolution_px=description.resolution,
        face_type=description.face_type.value,
        software=description.software,
        kind=description.kind,
    )
    for backup in read_model_backups(Path(path)):
        message.backups.append(
            model_service_pb2.ModelBackup(
                path=str(backup.path),
                iteration=backup.newest.iteration,
                save_time=timestamp(backup.newest.save_time),
                size_bytes=backup.newest.size_bytes,
            )
        )
    for facts in generations:
        message.generations.append(
            common_pb2.ModelGeneration(
                number=facts.number,
                iteration=facts.iteration,
                save_time=timestamp(facts.save_time),
                size_bytes=facts.size_bytes,
            )
        )
    if generations:
        newest = generations[0]
        message.iteration, message.trained_s, message.digest = newest.iteration, newest.trained_s, newest.weights_sha256
        message.authorization.CopyFrom(authorization_to_message(newest.authorization))
    return model_service_pb2.GetModelResponse(model=message)


def answer_presets() -> Message:
    """Presets that can be loaded; one whose package is broken is left out, and logged."""
    from dflcore.models.registry import load_preset, preset_names

    presets = []
    for name in preset_names():
        try:
            preset = load_preset(name)
        except DflError as error:
            logger.warning("the preset %s cannot be loaded: %s", name, error)
            continue
        presets.append(model_service_pb2.Preset(name=name, help=preset.help))
    return model_service_pb2.ListPresetsResponse(presets=presets)


def answer_layers() -> Message:
    """The table of layers, beauty first; last, names that stand for several."""
    from dflcore.merge.aovs import BEAUTY, LAYERS, ON_REQUEST

    beauty = merge_service_pb2.Layer(
        channels="".join(BEAUTY), help="The composite over the plate; A is the plate's own alpha."
    )
    layers = [
        merge_service_pb2.Layer(
            name=layer.name, channels="".join(layer.channels), pixel_type=layer.pixel_type or "", help=layer.help
        )
        for layer in (*LAYERS.values(), *ON_REQUEST.values())
    ]
    return merge_service_pb2.ListLayersResponse(layers=[beauty, *layers])


def answer_output(output: str, size: int = 0, page_token: str = "") -> Message:
    """Frames of an output whose files are there: a page of them, or all where the size is 0.

    Raises:
        InvalidInput, DataCorrupt: the output, or its manifest, cannot be read; or the token is none of ours.
        ResourceExhausted: all were asked for, and they do not fit into one message.
    """
    from dflcore.merge.output import parse_output
    from dflcore.merge.provenance import iterate_frames

    sequence = parse_output(output, (), frame_count=1)
    page = merge_service_pb2.GetMergeOutputResponse()
    used = 0
    for number, entry in iterate_frames(sequence.manifest, _frame_of_token(page_token)):
        path = sequence.pattern.path(number)
        if not path.is_file():
            continue
        frame = merge_service_pb2.MergedFrame(frame=number, path=str(path), key=entry.key)
        used += _bytes_in_list(frame)
        if not size and used > MAX_ANSWER_BYTES:
            raise ResourceExhausted(
                f"The output {output} has more frames than one message holds; ask for them in pages (page_size).",
                reason="TOO_MANY_FRAMES",
                path=output,
            )
        if size and page.frames and (len(page.frames) == size or used > MAX_PAGE_BYTES):
            page.next_page_token = str(page.frames[-1].frame)
            break
        page.frames.append(frame)
    return page


def _bytes_in_list(message: Message) -> int:
    """With the tag and the length that stand before it."""
    size = message.ByteSize()
    return size + 2 + (size >= 1 << 7) + (size >= 1 << 14)


def _frame_of_token(page_token: str) -> int | None:
    """The frame a page comes after. Raises InvalidInput."""
    try:
        return int(page_token[:MAX_TOKEN]) if page_token else None
    except ValueError:
        raise InvalidInput(
            "page_token is not one this daemon gave out; start at the first page.",
            reason="BAD_PAGE",
            field="page_token",
        ) from None


ANSWERS: Mapping[str, Callable[..., Message]] = {
    "faceset": answer_faceset,
    "faces": answer_faces,
    "tracks": answer_tracks,
    "curation": answer_curation,
    "correct": answer_correct,
    "corrections": answer_corrections,
    "model": answer_model,
    "presets": answer_presets,
    "layers": answer_layers,
    "output": answer_output,
}


def answer(question: Mapping[str, Any]) -> dict[str, object]:
    """The line for a question. Every error ends here."""
    arguments = {name: value for name, value in question.items() if name != "type"}
    try:
        message = ANSWERS[question["type"]](**arguments)
    except DflError as error:
        return {"type": "failed", "error": asdict(ErrorReport.of(error))}
    except Exception as error:
        logger.exception("a question failed")
        defect = Internal(f"The question {question['type']} failed in an unexpected way: {error}.", reason="UNEXPECTED")
        return {"type": "failed", "error": asdict(ErrorReport.of(defect))}
    return {"type": "answer", "answer": base64.b64encode(message.SerializeToString()).decode("ascii")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer until the daemon closes the channel."""
    die_with_parent()
    name_process("dfl-query")
    channel = Channel.from_arguments(sys.argv[1:] if arguments is None else arguments)
    while (question := channel.receive()) is not None:
        channel.send(answer(question))
    return 0


if __name__ == "__main__":
    sys.exit(main())
