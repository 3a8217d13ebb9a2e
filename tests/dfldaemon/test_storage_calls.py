"""Files sent to a daemon and used by its jobs, by calls; what a client that misbehaves hears."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound, ResourceExhausted
from dfldaemon.errors import error_from_call
from dflproto.v1 import daemon_service_pb2, job_service_pb2, storage_service_pb2_grpc
from dflproto.v1 import storage_service_pb2 as wire

MODEL = wire.FOLDER_KIND_MODEL
PLATE = {f"plate.{number:04d}.exr": bytes([number]) * 3000 for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def shut_daemon(tmp_path_factory: pytest.TempPathFactory, daemon: Any) -> Any:
    """One whose only root is an empty folder."""
    folder = tmp_path_factory.mktemp("shut")
    (folder / "root").mkdir()
    shut = type(daemon)(folder / "state", runtime_dir=folder / "run", roots=folder / "root", inbox_gb=0.0001)
    shut.start()
    yield shut
    shut.stop()


def stub(daemon: Any) -> Any:
    return storage_service_pb2_grpc.StorageServiceStub(daemon._stub_channel)


def request(files: dict[str, bytes], name: str = "shot") -> wire.OpenSetRequest:
    facts = [
        wire.SetFile(name=file, size_bytes=len(data), sha256=hashlib.sha256(data).digest())
        for file, data in files.items()
    ]
    return wire.OpenSetRequest(name=name, files=facts)


def send(daemon: Any, files: dict[str, bytes], name: str = "shot") -> str:
    calls = stub(daemon)
    opened = calls.OpenSet(request(files, name))
    for missing in opened.missing:
        file, place, is_whole = list(files)[missing.index], missing.received_bytes, False
        while not is_whole:
            data = files[file][place : place + 1_000_000]
            put = wire.PutChunkRequest(set_id=opened.set_id, name=file, offset_bytes=place, data=data)
            answer = calls.PutChunk(put)
            place, is_whole = answer.received_bytes, answer.complete
    assert not calls.OpenSet(request(files, name)).missing
    return str(opened.path)


def error_of(call: Callable[[], Any]) -> DflError:
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return error_from_call(cast(Any, failed.value))


def test_a_job_reads_what_was_sent_though_the_roots_are_elsewhere(shut_daemon: Any, extract_spec: Any) -> None:
    folder = send(shut_daemon, PLATE)
    assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == PLATE
    spec = extract_spec()
    root = shut_daemon.settings["roots"]
    spec.extract.faceset_path = str(root / "good")
    assert error_of(lambda: shut_daemon.submit(spec)).reason == "PATH_OUTSIDE_ROOTS"
    spec.extract.plate.path = f"{folder}/plate.####.exr"
    shut_daemon.wait_for(shut_daemon.submit(spec).id, "SUCCEEDED")
    info = shut_daemon.daemon.GetServerInfo(daemon_service_pb2.GetServerInfoRequest())
    assert {"inbox", "folders"} <= set(info.features)
    assert Path(info.roots[1]) == Path(folder).parent.parent


def test_a_set_that_a_waiting_job_names_is_kept(shut_daemon: Any, extract_spec: Any) -> None:
    """The inbox takes 100 kB: the second set has room only without the first, which is in use."""
    folder = send(shut_daemon, {"used.0001.exr": b"u" * 60_000}, "used")
    spec = extract_spec(frames=5000)
    spec.extract.faceset_path = str(shut_daemon.settings["roots"] / "good-long")
    spec.extract.plate.path = f"{folder}/used.####.exr"
    job = shut_daemon.submit(spec)
    refused = error_of(lambda: stub(shut_daemon).OpenSet(request({"x.exr": b"x" * 60_000}, "next")))
    assert isinstance(refused, ResourceExhausted)
    assert refused.reason == "INBOX_FULL"
    assert Path(folder, "used.0001.exr").is_file()
    shut_daemon.jobs.CancelJob(job_service_pb2.CancelJobRequest(id=job.id))
    shut_daemon.wait_for(job.id, "CANCELLED")


def test_what_goes_wrong_has_its_class_and_reason(daemon: Any) -> None:
    calls = stub(daemon)
    opened = calls.OpenSet(request({"a": b"abc"}, "wrong"))

    def put(**fields: Any) -> DflError:
        asked = {"set_id": opened.set_id, "name": "a", "data": b"abx", **fields}
        return error_of(lambda: calls.PutChunk(wire.PutChunkRequest(**asked)))

    cases: list[tuple[DflError, type[DflError], str]] = [
        (put(), DataCorrupt, "HASH_DIFFERS"),
        (put(data=b"abcd"), InvalidInput, "FILE_TOO_LARGE"),
        (put(name="b"), InvalidInput, "NOT_ANNOUNCED"),
        (put(set_id="0" * 32), NotFound, "SET_NOT_FOUND"),
        (put(data=bytes((4 << 20) + 1)), InvalidInput, "BAD_CHUNK"),
        (error_of(lambda: calls.OpenSet(request({"../a": b""}))), InvalidInput, "BAD_NAME"),
        (error_of(lambda: calls.OpenSet(request({}))), InvalidInput, "NO_FILES"),
        (error_of(lambda: calls.ListFolders(wire.ListFoldersRequest())), InvalidInput, "BAD_KIND"),
        (
            error_of(lambda: calls.ListFolders(wire.ListFoldersRequest(kind=MODEL, max_count=-1))),
            InvalidInput,
            "BAD_PAGE",
        ),
    ]
    for error, expected, reason in cases:
        assert (type(error), error.reason) == (expected, reason)


def test_clients_that_give_up_in_the_middle_leave_nothing_broken(daemon: Any) -> None:
    data = bytes(range(256)) * 16384
    calls = stub(daemon)
    opened = calls.OpenSet(request({"a": data}, "given up"))
    place = 0
    for number in range(30):
        put = wire.PutChunkRequest(
            set_id=opened.set_id, name="a", offset_bytes=place, data=data[place : place + 100_000]
        )
        with contextlib.suppress(grpc.RpcError):
            place = calls.PutChunk(put, timeout=0.002 * (number % 3) + 0.0005).received_bytes
    assert send(daemon, {"a": data}, "given up") == opened.path
    assert Path(opened.path, "a").read_bytes() == data


def test_no_file_is_taken_without_the_token(daemon: Any) -> None:
    with daemon.channel(token="0" * 64) as channel:
        calls = storage_service_pb2_grpc.StorageServiceStub(channel)
        for call in (lambda: calls.OpenSet(request(PLATE)), lambda: calls.PutChunk(wire.PutChunkRequest())):
            with pytest.raises(grpc.RpcError) as failed:
                call()
            assert failed.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_folders_of_roots_jobs_and_inbox_are_offered(shut_daemon: Any, extract_spec: Any) -> None:
    root = Path(str(shut_daemon.settings["roots"]))
    (root / "show" / "model" / "generations" / "00000001").mkdir(parents=True)
    sent = send(shut_daemon, {"generations/00000007/weights": b"w"}, "my model")
    (root.parent / "outside" / "generations" / "00000001").mkdir(parents=True)
    answer = stub(shut_daemon).ListFolders(wire.ListFoldersRequest(kind=MODEL))
    assert {(one.path, one.in_inbox) for one in answer.folders} == {(str(root / "show/model"), False), (sent, True)}
    assert not answer.more
    assert all(one.change_time.seconds > 1e9 for one in answer.folders)


def test_folders_that_jobs_named_are_offered_where_the_root_is_everything(daemon: Any, extract_spec: Any) -> None:
    spec = extract_spec("good-listed")
    daemon.wait_for(daemon.submit(spec).id, "SUCCEEDED")
    folder = Path(spec.extract.faceset_path)
    folder.mkdir(exist_ok=True)
    (folder / "index.sqlite").touch()
    answer = stub(daemon).ListFolders(wire.ListFoldersRequest(kind=wire.FOLDER_KIND_FACESET))
    assert str(folder) in [one.path for one in answer.folders]
