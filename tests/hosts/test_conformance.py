"""The same scenarios through grpcio and through dflhost, on every Python a host may bring: equal outcomes."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from grpc_status import rpc_status

import conformance
from dfldaemon.client import DaemonClient, session_endpoint
from dfldaemon.discovery import find_session, read_token
from dflhost.vendor import copy_client
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    daemon_service_pb2_grpc,
    faceset_service_pb2,
    faceset_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    merge_service_pb2,
    merge_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    storage_service_pb2,
    storage_service_pb2_grpc,
)
from frame_shot import make_frame_shot

SERVICES: Mapping[str, tuple[Any, Any]] = {
    "DaemonService": (daemon_service_pb2, daemon_service_pb2_grpc),
    "FacesetService": (faceset_service_pb2, faceset_service_pb2_grpc),
    "JobService": (job_service_pb2, job_service_pb2_grpc),
    "MergeService": (merge_service_pb2, merge_service_pb2_grpc),
    "ModelService": (model_service_pb2, model_service_pb2_grpc),
    "StorageService": (storage_service_pb2, storage_service_pb2_grpc),
}
INTERPRETERS = ("3.9", "3.10", "3.11", "3.13")


class GoogleClient(conformance.Client):
    """The scenarios' view of grpcio and protobuf."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._channel = self._open("")

    def close(self) -> None:
        self._channel.close()

    def call(
        self, service: str, method: str, request: Mapping[str, Any], deadline_s: float = 15.0, token: str = ""
    ) -> dict[str, Any]:
        channel = self._open(token) if token else self._channel
        messages, stubs = SERVICES[service]
        stub = getattr(stubs, f"{service}Stub")(channel)
        try:
            asked = json_format.ParseDict(in_json(request), getattr(messages, f"{method}Request")())
            return as_dict(getattr(stub, method)(asked, timeout=deadline_s))
        except grpc.RpcError as error:
            raise failure_of(error) from error
        finally:
            if token:
                channel.close()

    def stream(
        self,
        method: str,
        request: Mapping[str, Any],
        deadline_s: float = 15.0,
        take: int = 0,
        cancel_after_s: float = 0.0,
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        service = conformance.service_of_stream(method)
        messages, stubs = SERVICES[service]
        stub = getattr(stubs, f"{service}Stub")(self._channel)
        asked = json_format.ParseDict(dict(request), getattr(messages, f"{method}Request")())
        answers = getattr(stub, method)(asked, timeout=deadline_s)
        timer = threading.Timer(cancel_after_s, answers.cancel)
        if cancel_after_s:
            timer.start()
        taken: list[dict[str, Any]] = []
        try:
            for answer in answers:
                taken.append(as_dict(answer))
                if take and len(taken) >= take:
                    answers.cancel()
                    break
        except grpc.RpcError as error:
            return taken, failure_of(error).value
        return taken, None

    def picture(self, **fields: Any) -> bytes:
        values = {**self.shot, **fields, "road": "PIXEL_ROAD_SHARED_MEMORY"}
        values["pixel_format"] = f"PIXEL_FORMAT_{values['pixel_format'].upper()}"
        request = json_format.ParseDict(values, merge_service_pb2.MergeFrameRequest())
        with DaemonClient(lambda: session_endpoint(self._state_dir)) as client:
            return bytes(client.merge_frame(request).data)

    def _open(self, token: str) -> grpc.Channel:
        session = find_session(self._state_dir)
        call = grpc.access_token_call_credentials(token or read_token(session))
        local = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        options = [("grpc.max_send_message_length", 16 << 20), ("grpc.max_receive_message_length", 16 << 20)]
        return grpc.secure_channel(session.address, grpc.composite_channel_credentials(local, call), options=options)


def in_json(value: Any) -> Any:
    """A request as protobuf's JSON has it: bytes in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: in_json(inner) for name, inner in value.items()}
    return [in_json(inner) for inner in value] if isinstance(value, list) else value


def failure_of(error: Any) -> conformance.Failure:
    code = error.code().value[0]
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        detail = common_pb2.ErrorDetail()
        if packed.Unpack(detail):
            return conformance.Failure(code, detail.reason, detail.message, dict(detail.details))
    return conformance.Failure(code)


def as_dict(message: Message) -> dict[str, Any]:
    """A message by protobuf's own reflection, in the shape that dflhost documents."""
    out: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            out[field.name] = dict(value)
        elif field.is_repeated:
            out[field.name] = [plain(field, one) for one in value]
        elif not field.has_presence or message.HasField(field.name):
            out[field.name] = plain(field, value)
    return out


def plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_dict(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    return value


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A frame that can be rendered, as fields of a request."""
    made = make_frame_shot(tmp_path_factory.mktemp("shot"))
    paths = {"model_path": str(made.model), "faceset_path": str(made.faceset)}
    return {"plate_path": made.plate, "frame": 1001, **paths}


@pytest.fixture(scope="module")
def expected(daemon: Any, shot: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What grpcio and protobuf make of the scenarios."""
    with contextlib.closing(GoogleClient(daemon.folder / "state")) as client:
        client.shot = shot
        return conformance.run(client, tmp_path_factory.mktemp("run-google"))


@pytest.fixture(scope="module")
def client_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of dflhost as it lies in a host's folder."""
    return copy_client(tmp_path_factory.mktemp("host")).parent


def find_python(version: str) -> str:
    """An interpreter of that version; this one where it fits. Skips where there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    for folder in sorted(Path.home().glob(f".pyenv/versions/{version}.*")):
        if (folder / "bin" / "python").exists():
            return str(folder / "bin" / "python")
    pytest.skip(f"there is no Python {version} among ~/.pyenv/versions")


def test_the_scenarios_ask_for_enough(expected: dict[str, Any]) -> None:
    assert len(expected) == len(conformance.SCENARIOS)
    codes = {outcome.get("code") for outcome in expected.values() if isinstance(outcome, dict)}
    assert codes >= {3, 5, 8, 15, 16}
    assert expected["files_arrive"][2:] == [[], True, {"a/ü 顔.0001.exr": True, "empty": True, "large": True}]
    assert len(expected["names_that_lead_elsewhere"]) == 8
    assert len(expected["models_in_the_inbox"]) == 1
    assert expected["models_that_were_made"] == [False]
    rest = 4_800_000 - (4 << 20)
    assert expected["picture_read_back"] == [[size, 4_800_000, True] for size in (4 << 20, rest, 0)]
    assert expected["file_nobody_may_read"]["reason"] == "NOT_FOR_CLIENTS"
    assert expected["server_info"]["made_path"].endswith("/state/made")
    formats = ("EXR", "PNG", "HALF", "FLOAT")
    assert expected["frame_through_memory"] == [[name, True, True, True, 1, None] for name in formats]
    assert expected["deadline_in_a_stream"] == [{"code": 4}, True]
    assert expected["stream_given_up"] == [{"code": 1}, "JOB_STATE_RUNNING"]
    assert "顔" in json.dumps(expected["path_in_many_scripts"], ensure_ascii=False)


@pytest.mark.parametrize("version", INTERPRETERS)
def test_dflhost_answers_as_grpcio_does(
    daemon: Any, shot: dict[str, Any], expected: dict[str, Any], client_folder: Path, tmp_path: Path, version: str
) -> None:
    """In a process of its own that sees nothing but the copied client, as in a host."""
    work = tmp_path / "run-host"
    work.mkdir()
    program = [find_python(version), "-I", "-S", conformance.__file__]
    done = subprocess.run(
        [*program, str(client_folder), str(daemon.folder / "state"), str(work), json.dumps(shot)],
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    facts, outcomes = answer["facts"], answer["outcomes"]
    print(f"\nPython {facts['python']}: import {facts['import_ms']:.0f} ms, scenarios {facts['took_s']:.2f} s")
    assert facts["left"] == []
    assert facts["foreign"] == []
    for name in expected:
        assert outcomes[name] == expected[name], name
    assert done.stderr == b""
