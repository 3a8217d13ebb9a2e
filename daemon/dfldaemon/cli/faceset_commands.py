"""``dfl faceset ...`` and ``dfl train-mask``: look into facesets, correct them, and submit work on whole ones."""

from __future__ import annotations

import argparse
import itertools
import math
import os
from pathlib import Path

from rich.table import Table

from dflcore.config.detail import DetailTrainSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import InvalidInput, ResourceExhausted
from dflcore.frames import FrameRange
from dfldaemon.cli.correction_files import correction_request
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.cli.work import submit_and_follow, with_whole_tools
from dfldaemon.client import DaemonClient
from dflproto.v1 import faceset_service_pb2, job_service_pb2, settings_pb2


def show_info(session: CliSession, options: argparse.Namespace) -> int:
    """What a faceset says about itself. Raises DflError."""
    with session.connect_or_start() as client:
        faceset = client.get_faceset(session.absolute(options.faceset))
    if session.output.is_json:
        session.output.event("faceset", **message_values(faceset))
        return OK
    session.output.result(
        f"{faceset.face_count} faces, {faceset.face_type}, {faceset.aligned_size_px} px, by {faceset.software}"
    )
    for plate in faceset.plates:
        session.output.result(f"  plate {plate}")
    record = faceset.authorization
    if record.person or record.reference:
        session.output.result(f"  of {record.person or record.reference}, for {record.use or 'any use'}")
    return OK


def list_faces(session: CliSession, options: argparse.Namespace) -> int:
    """Faces of a faceset in any order. Raises DflError."""
    if options.limit < 0:
        raise InvalidInput(
            f"--limit {options.limit}: write how many faces to list, or 0 for all.", reason="BAD_USAGE", field="limit"
        )
    with session.connect_or_start() as client:
        faces = client.list_faces(
            session.absolute(options.faceset),
            where=options.where,
            sort_by=options.sort,
            reverse=options.reverse,
            view=options.view,
            page_size=min(options.limit, 10_000) if options.limit else 10_000,
        )
        shown = list(itertools.islice(faces, options.limit or None))
    if session.output.is_json:
        for face in shown:
            session.output.event("face", **message_values(face))
        return OK
    table = Table(
        "face", "frame", "track", "yaw", "pitch", "sharpness", "origin", options.sort or "", box=None, pad_edge=False
    )
    for face in shown:
        table.add_row(
            face.name,
            str(face.frame),
            str(face.track_id) if face.HasField("track_id") else "",
            f"{math.degrees(face.yaw_rad):.0f}",
            f"{math.degrees(face.pitch_rad):.0f}",
            f"{face.sharpness:.5f}",
            face.origin,
            f"{face.sort_value:.5g}" if face.HasField("sort_value") else "",
        )
    session.output.table(table)
    return OK


def list_tracks(session: CliSession, options: argparse.Namespace) -> int:
    """People followed through shots. Raises DflError."""
    with session.connect_or_start() as client:
        tracks = client.list_tracks(session.absolute(options.faceset))
    if session.output.is_json:
        for track in tracks:
            session.output.event("track", **message_values(track))
        return OK
    table = Table("track", "frames", "faces", "filled in", "sharpest", "plate", box=None, pad_edge=False)
    for track in tracks:
        frames = f"{track.first_frame}-{track.last_frame}"
        faces, filled = str(track.face_count), str(track.interpolated_count)
        table.add_row(str(track.track_id), frames, faces, filled, track.sample_face, track.plate)
    session.output.table(table)
    return OK


def list_fields(session: CliSession, options: argparse.Namespace) -> int:
    """What filters may ask, and sorts. Raises DflError."""
    with session.connect_or_start() as client:
        curation = client.describe_curation()
    if session.output.is_json:
        session.output.event("curation", **message_values(curation))
        return OK
    table = Table("field", "unit", "meaning", box=None, pad_edge=False)
    for one in curation.fields:
        table.add_row(one.name, one.unit, one.help + (" *" if one.needs_measure else ""))
    session.output.table(table)
    sorts = Table("sort", "meaning", box=None, pad_edge=False)
    for sort in curation.sorts:
        sorts.add_row(sort.name, sort.help + (" *" if sort.needs_measure else ""))
    session.output.table(sorts)
    session.output.result("* needs the measures of `dfl faceset measure`; `dfl faceset sort` makes them by itself.")
    return OK


def correct(session: CliSession, options: argparse.Namespace) -> int:
    """Remember corrections, take some back, or show those made. Raises DflError."""
    faceset = session.absolute(options.faceset)
    plate = session.absolute(options.plate) if options.plate else ""
    forgotten = set(FrameRange.parse(options.forget)) if options.forget else set()
    request = faceset_service_pb2.CorrectFacesRequest(path=faceset, plate=plate)
    if options.file:
        request = correction_request(faceset, plate, session.absolute(options.file))
    with session.connect_or_start() as client:
        if not options.file and not options.forget:
            return _show_corrections(session, client, faceset, plate)
        request.add = options.add
        request.forget_frames.extend(_with_corrections(client, request, forgotten))
        frames = client.correct_faces(request)
    if session.output.is_json:
        session.output.event("corrected", frames=frames)
    elif frames:
        session.output.result(f"Frames {FrameRange.of(frames)}: run `dfl extract` on the plate again to act on it.")
    else:
        session.output.result("No frame has corrections to take back, or the file has none; nothing was changed.")
    return OK


def _with_corrections(
    client: DaemonClient, request: faceset_service_pb2.CorrectFacesRequest, frames: set[int]
) -> list[int]:
    """Those of the frames that have corrections to take back; all of them where there are too many to ask for."""
    if not frames:
        return []
    try:
        stated = {one.frame for one in client.list_corrections(request.path, request.plate)}
    except ResourceExhausted:
        return sorted(frames)
    return sorted(frames & {*stated, *(one.frame for one in request.corrections)})


def operate(session: CliSession, options: argparse.Namespace) -> int:
    """Submit something done to a whole faceset and follow it. Raises DflError."""
    settings = _with_whole_paths(session, given_settings(options, options.settings_class), options.faceset)
    other, output = (getattr(options, name, "") for name in ("other", "output"))
    message = getattr(settings_pb2, options.settings_class.__name__)(**settings)
    curate = job_service_pb2.CurateSpec(
        faceset_path=session.absolute(options.faceset),
        other_path=session.absolute(other) if other else "",
        output_path=session.absolute(output) if output else "",
    )
    getattr(curate, options.operation).CopyFrom(message)
    spec = job_service_pb2.JobSpec(curate=curate)
    with session.connect_or_start() as client:
        return submit_and_follow(session, client, spec, is_detached=options.detach)


def _with_whole_paths(session: CliSession, settings: dict[str, object], faceset: str) -> dict[str, object]:
    """Settings that name files, with the whole path: the daemon does not know the user's folder.

    ``reference`` may be a face of the set and ``plate`` a name that is no path; a plain word is a path where such a
    file is here, and the set has no face of that name.
    """
    whole = dict(settings)
    if meta_dat := str(settings.get("meta_dat", "")):
        whole["meta_dat"] = session.absolute(meta_dat)
    for name in ("reference", "plate"):
        value = str(settings.get(name, ""))
        is_face = name == "reference" and Path(session.absolute(faceset), value).is_file()
        if os.sep in value or (value and not is_face and Path(session.absolute(value)).exists()):
            whole[name] = session.absolute(value)
    return with_whole_tools(session, whole)


def train_mask(session: CliSession, options: argparse.Namespace) -> int:
    """Train a segmenter. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, MaskTrainSettings)
    spec = job_service_pb2.JobSpec(
        train_mask=job_service_pb2.TrainMaskSpec(
            faceset_paths=[session.absolute(faceset) for faceset in options.faceset],
            model_path=session.absolute(options.model),
            settings=settings_pb2.MaskTrainSettings(**settings),  # type: ignore[arg-type]
        )
    )
    with session.connect_or_start() as client:
        return submit_and_follow(session, client, spec, is_detached=options.detach, is_watched=options.watch)


def train_detail(session: CliSession, options: argparse.Namespace) -> int:
    """Train a personal detail enhancer. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, DetailTrainSettings)
    if settings.get("face_model"):
        settings["face_model"] = session.absolute(str(settings["face_model"]))
    spec = job_service_pb2.JobSpec(
        train_detail=job_service_pb2.TrainDetailSpec(
            faceset_paths=[session.absolute(faceset) for faceset in options.faceset],
            model_path=session.absolute(options.model),
            settings=settings_pb2.DetailTrainSettings(**settings),  # type: ignore[arg-type]
        )
    )
    with session.connect_or_start() as client:
        return submit_and_follow(session, client, spec, is_detached=options.detach, is_watched=options.watch)


def _show_corrections(session: CliSession, client: DaemonClient, faceset: str, plate: str) -> int:
    for one in client.list_corrections(faceset, plate):
        if session.output.is_json:
            session.output.event("correction", **message_values(one))
        else:
            what = "no face" if one.remove else "face"
            how = "landmarks" if one.landmarks_px else "placement" if one.HasField("placement") else "box"
            session.output.result(f"frame {one.frame}: {what}, by {how}")
    return OK
