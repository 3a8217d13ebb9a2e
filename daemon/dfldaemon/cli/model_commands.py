"""``dfl model info|import|export``: look into models, take them over from other programs, and hand them on."""

from __future__ import annotations

import argparse
import datetime

from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dfldaemon.cli.authorization import ask_authorization
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.rate import duration_text
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.cli.work import submit_and_follow
from dflproto.v1 import job_service_pb2, model_service_pb2, settings_pb2

KIND_WORDS = {"face": "paints faces", "segment": "masks faces", "detail": "makes faces clearer"}


def show_info(session: CliSession, options: argparse.Namespace) -> int:
    """What a model says about itself. Raises DflError."""
    with session.connect_or_start() as client:
        model = client.get_model(session.absolute(options.model))
    session.output.event("model", **message_values(model))
    for name, value in _rows(model).items():
        if value:
            session.output.result(f"{name:<12} {value}")
    return OK


def import_model(session: CliSession, options: argparse.Namespace) -> int:
    """Take a model over. Raises DflError where that cannot be submitted or followed."""
    settings = given_settings(options, ModelImportSettings)
    settings |= ask_authorization(session.output, ModelImportSettings, settings, is_recorded=lambda: False)
    spec = job_service_pb2.ImportModelSpec(
        legacy_path=session.absolute(options.folder),
        model_path=session.absolute(options.model),
        settings=settings_pb2.ModelImportSettings(**settings),  # type: ignore[arg-type]
    )
    with session.connect_or_start() as client:
        return submit_and_follow(
            session, client, job_service_pb2.JobSpec(import_model=spec), is_detached=options.detach
        )


def export_model(session: CliSession, options: argparse.Namespace) -> int:
    """Hand a model on. Raises DflError where that cannot be submitted or followed."""
    spec = job_service_pb2.ExportModelSpec(
        model_path=session.absolute(options.model),
        output_path=session.absolute(options.output),
        settings=settings_pb2.ModelExportSettings(**given_settings(options, ModelExportSettings)),  # type: ignore[arg-type]
    )
    with session.connect_or_start() as client:
        return submit_and_follow(
            session, client, job_service_pb2.JobSpec(export_model=spec), is_detached=options.detach
        )


def _rows(model: model_service_pb2.Model) -> dict[str, str]:
    """Name → what a person reads; empty where there is nothing to say."""
    record = model.authorization
    permission = ", ".join(
        part
        for part in (
            record.person or record.reference,
            record.project and f"for {record.project}",
            record.use and f"use: {record.use}",
            record.until and f"until {record.until}",
        )
        if part
    )
    return {
        "model": model.path,
        "network": f"{model.preset}, {model.resolution_px} px, {model.face_type}; {KIND_WORDS.get(model.kind, '')}",
        "trained": _trained(model),
        "saves": _saves(model),
        "backups": _backups(model),
        "permission": permission,
        "digest": model.digest,
        "made by": model.software,
    }


def _trained(model: model_service_pb2.Model) -> str:
    if not model.generations:
        return "not yet"
    return f"{model.iteration} iterations, {duration_text(model.trained_s)}"


def _saves(model: model_service_pb2.Model) -> str:
    if not model.generations:
        return ""
    newest = model.generations[0]
    return f"{len(model.generations)}, newest {_local(newest.save_time.seconds)}, {newest.size_bytes / 1e6:.1f} MB"


def _backups(model: model_service_pb2.Model) -> str:
    if not model.backups:
        return ""
    newest = model.backups[0]
    saved = _local(newest.save_time.seconds)
    return f"{len(model.backups)}, newest of iteration {newest.iteration}, {saved}: {newest.path}"


def _local(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
