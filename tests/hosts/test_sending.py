"""Plates, models and facesets sent to a daemon that sees no disk of ours: through TLS, broken off, gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DaemonProcess
from frame_asking import make_pretending_shot
from studio_certificates import make_certificates

from dflcore.io.exr import read_exr_layers
from dflhost import sending
from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.events import BytesSent, FramesDone
from dflhost.frames import FrameRequest
from dflhost.messages import explain
from dflhost.plates import FrameSet, Plate
from dflhost.sending import folder_files, plate_files
from dflhost.session import DaemonSession
from frame_shot import FrameShot


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_pretending_shot(tmp_path_factory.mktemp("shot"))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_plate_arrives_with_its_pattern_and_only_the_frames_asked_for(far: DaemonSession, tmp_path: Path) -> None:
    frames = {f"a.{number:04d}.exr": os.urandom(3000 + number) for number in range(1, 6)}
    write(tmp_path / "sh 010", frames)
    told: list[BytesSent] = []
    plate = Plate(str(tmp_path / "sh 010" / "a.%04d.exr"), FrameSet.parse("2-4"))
    path = far.send_plate(plate, progress=told.append)
    assert path.endswith("/sh 010/a.####.exr")
    assert contents(os.path.dirname(path)) == {name: frames[name] for name in sorted(frames)[1:4]}
    assert (told[-1].done_bytes, told[-1].total_bytes) == (9009, 9009)
    assert {event.stage for event in told} == {"reading", "sending"}
    told.clear()
    assert far.send_plate(plate, progress=told.append) == path
    assert [event.done_bytes for event in told if event.stage == "sending"] == [9009]  # nothing is sent again
    right = far.send_plate(replace(plate, path=f"{plate.path}?view=right"))
    assert right == f"{path}?view=right"  # of the same files
    more = far.send_plate(plate.path)
    assert contents(os.path.dirname(more)) == frames


def test_a_model_folder_arrives_without_what_is_left_out(far: DaemonSession, tmp_path: Path) -> None:
    kept = {"generations/00000001/weights": os.urandom(3 << 20), "notes": b"", "backups2/x": b"2"}
    model = write(tmp_path / "hero", {**kept, "backups/iteration_00000001/weights": b"old", ".hidden": b"h"})
    (model / "link").symlink_to(tmp_path)
    path = far.send_folder(str(model) + "/", sending.MODEL_LEAVES_OUT)
    assert path.endswith("/hero")
    assert contents(path) == kept
    assert {(one.name, one.is_in_inbox) for one in far.models()} == {("hero", True)}
    assert far.facesets() == []


def test_sending_is_shown_as_a_job_cancelled_and_gone_on_with(
    far: DaemonSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    data = os.urandom(6 << 20)
    folder = write(tmp_path / "faces", {"pack": data})
    goes_on = threading.Event()
    real = far._sender._call

    def slow(service: str, method: str, request: dict[str, Any], **more: Any) -> Any:
        if method == "PutChunk" and request["offset_bytes"] >= 3 << 20:
            goes_on.wait(20)
        return real(service, method, request, **more)

    monkeypatch.setattr(far._sender, "_call", slow)
    job = far.submit_folder(str(folder))
    eventually(lambda: job.status.done == 3)
    assert (job.status.text, job.kind) == ("Sending 3/7 (MB)", "send")
    job.cancel()
    goes_on.set()
    assert job.wait(20).state == "CANCELLED"
    told: list[BytesSent] = []
    path = far.send_folder(str(folder), progress=told.append)
    assert next(one.done_bytes for one in told if one.stage == "sending") == 4 << 20
    assert contents(path) == {"pack": data}
    whole = far.submit_folder(str(folder)).wait(20)
    assert (whole.text, whole.result) == ("Done", {"path": path})


def test_a_daemon_that_is_killed_meanwhile_is_waited_for(
    own_daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(4 << 20)
    folder = write(tmp_path / "faces", {"pack": data})
    with own_daemon.connect() as session:
        real, asked = session._sender._call, []

        def broken(service: str, method: str, request: dict[str, Any], **more: Any) -> Any:
            asked.append(method)
            if len(asked) == 4:
                own_daemon.stop(signal.SIGKILL)
                threading.Timer(0.3, own_daemon.start).start()
            return real(service, method, request, **more)

        monkeypatch.setattr(session._sender, "_call", broken)
        assert contents(session.send_folder(str(folder))) == {"pack": data}


def test_a_file_that_changes_meanwhile_is_told(
    far: DaemonSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = far._sender._call

    def sent_while(change: Callable[[], object]) -> str:
        def changing(service: str, method: str, request: dict[str, Any], **more: Any) -> Any:
            if method == "OpenSet":
                change()
            return real(service, method, request, **more)

        with monkeypatch.context() as patched, pytest.raises(HostError) as failure:
            patched.setattr(far._sender, "_call", changing)
            far.send_folder(str(folder))
        return failure.value.reason

    folder = write(tmp_path / "faces", {"pack": os.urandom(5000)})
    assert sent_while(lambda: (folder / "pack").write_bytes(os.urandom(5000))) == "FILE_CHANGED"
    assert sent_while(lambda: (folder / "pack").write_bytes(os.urandom(6000))) == "FILE_CHANGED"
    assert sent_while(lambda: (folder / "pack").write_bytes(b"short")) == "FILE_CHANGED"
    assert sent_while((folder / "pack").unlink) == "FILE_NOT_READABLE"


def test_a_set_that_was_removed_meanwhile_is_announced_again(
    far: DaemonSession, far_daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "faces", {"a": b"one", "b": b"two"})
    real, asked = far._sender._call, []

    def removing(service: str, method: str, request: dict[str, Any], **more: Any) -> Any:
        asked.append(method)
        if len(asked) == 3:
            root = far_daemon.folder / "state" / "inbox" / request["set_id"]
            root.rename(root.with_name("gone"))
        return real(service, method, request, **more)

    monkeypatch.setattr(far._sender, "_call", removing)
    assert contents(far.send_folder(str(folder))) == {"a": b"one", "b": b"two"}
    assert asked == ["OpenSet", "PutChunk", "PutChunk", "OpenSet", "PutChunk", "PutChunk"]


def test_what_is_not_here_is_told_before_anything_is_sent(far: DaemonSession, tmp_path: Path) -> None:
    write(tmp_path / "p", {"a.0001.exr": b"1"})
    (tmp_path / "empty").mkdir()
    pattern = str(tmp_path / "p" / "a.####.exr")
    cases: list[tuple[str, Callable[[], object]]] = [
        ("FRAME_NOT_FOUND", lambda: far.send_plate(pattern, (1, 2))),
        ("PLATE_NOT_FOUND", lambda: far.send_plate(str(tmp_path / "p" / "b.####.exr"))),
        ("PLATE_NOT_FOUND", lambda: far.send_plate(str(tmp_path / "p" / "movie.mov"))),
        ("FOLDER_NOT_FOUND", lambda: far.send_folder(str(tmp_path / "none"))),
        ("NOTHING_TO_SEND", lambda: far.send_folder(str(tmp_path / "empty"))),
    ]
    for reason, call in cases:
        with pytest.raises(HostError) as failure:
            call()
        assert failure.value.reason == reason


def test_a_still_and_a_movie_are_one_file(tmp_path: Path) -> None:
    write(tmp_path, {"photo.png": b"p", "..odd\\name/clip.mov": b"m"})
    name, files, inside = plate_files(Plate(str(tmp_path / "photo.png")))
    assert (name, inside, [file.name for file in files]) == (tmp_path.name, "photo.png", ["photo.png"])
    name, files, inside = plate_files(Plate(str(tmp_path / "photo.png?view=left")))
    assert (inside, [file.name for file in files]) == ("photo.png?view=left", ["photo.png"])
    assert plate_files(Plate(str(tmp_path / "..odd\\name" / "clip.mov")))[0] == "odd_name"
    assert folder_files(str(tmp_path / "..odd\\name"))[0] == "odd_name"


def test_a_range_is_merged_where_no_disk_is_shared(far: DaemonSession, shot: FrameShot, tmp_path: Path) -> None:
    shot.merge(tmp_path / "near.####.exr", (1001,))
    expected = read_exr_layers(tmp_path / "near.1001.exr")
    request = FrameRequest(shot.plate, 1001, str(shot.model), str(shot.faceset), layers=("beauty", "matte"))
    refused = far.submit_streamed(request, (1001,), str(tmp_path / "no.####.exr"), send=False).wait(60)
    assert refused.error is not None
    assert refused.error.reason == "PATH_OUTSIDE_ROOTS"
    job = far.submit_streamed(request, (1001, 1002), str(tmp_path / "far.####.exr"), send=True)
    seen = list(job.follow())
    assert job.status.text == "Done", job.status.error
    assert any(isinstance(event, BytesSent) for event in seen)
    assert [event.frame for event in seen if isinstance(event, FramesDone)] == [1001, 1002]
    found = read_exr_layers(tmp_path / "far.1001.exr")
    assert all(np.array_equal(found[name], expected[name]) for name in found)
    for folder in (shot.model, shot.faceset):  # merging has left them as they were sent
        visible = {name: data for name, data in contents(str(folder)).items() if not name.startswith(".")}
        assert contents(far.send_folder(str(folder), sending.MODEL_LEAVES_OUT)) == visible


def test_a_range_that_is_cancelled_while_its_files_are_sent_stops(
    far: DaemonSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    write(tmp_path / "plate", {"p.0001.exr": os.urandom(2 << 20)})
    request = FrameRequest(str(tmp_path / "plate" / "p.####.exr"), 1, "/no/model", "/no/faces")
    goes_on = threading.Event()
    real = far._sender._call

    def slow(service: str, method: str, asked: dict[str, Any], **more: Any) -> Any:
        if method == "PutChunk" and asked["offset_bytes"]:
            goes_on.wait(20)
        return real(service, method, asked, **more)

    monkeypatch.setattr(far._sender, "_call", slow)
    job = far.submit_streamed(request, (1,), str(tmp_path / "out.####.exr"), send=True)
    eventually(lambda: job.status.stage == "sending 1 of 3 MB")
    assert job.status.text == "Merging 0/1 (sending 1 of 3 MB)"
    job.cancel()
    goes_on.set()
    assert job.wait(20).state == "CANCELLED"
    lacking = replace(request, plate_path=str(tmp_path / "plate" / "p.%04d.exr"))
    failed = far.submit_streamed(lacking, (1, 2), str(tmp_path / "out.####.exr"), send=True).wait(20)
    assert failed.error is not None
    assert failed.error.reason == "FRAME_NOT_FOUND"


def test_another_machine_is_sent_to_by_itself(
    far: DaemonSession, shot: FrameShot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = FrameRequest(shot.plate, 1001, str(shot.model), str(shot.faceset))
    assert not far.settings.is_remote  # 127.0.0.2 is this machine
    monkeypatch.setattr(ConnectionSettings, "is_remote", property(lambda _: True))
    assert far.submit_streamed(request, (1001,), str(tmp_path / "far.####.exr")).wait(60).text == "Done"


def test_closing_the_session_ends_what_is_being_sent(
    far_daemon: DaemonProcess, tmp_path: Path, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "faces", {"pack": os.urandom(64 << 20)})
    session = far_daemon.connect(**far_daemon.from_afar())
    job = session.submit_folder(str(folder))
    eventually(lambda: job.status.done > 1)
    session.close()
    assert job.status.state in ("RUNNING", "CANCELLED", "SUCCEEDED")  # the last on a machine that is very busy
    with pytest.raises(HostError) as failure:
        session.submit_folder(str(folder))
    assert failure.value.reason == "SESSION_CLOSED"


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"certificate_path": "", "key_path": ""}, "OWN_CERTIFICATE_REFUSED"),
        ({"certificate_path": "other/ws01.pem", "key_path": "other/ws01.key"}, "OWN_CERTIFICATE_REFUSED"),
        ({"certificate_path": "farm.pem", "key_path": "farm.key"}, "OWN_CERTIFICATE_REFUSED"),
        ({"ca_path": "other/studio-ca.pem"}, "CERTIFICATE_REFUSED"),
        ({"server_name": "elsewhere"}, "CERTIFICATE_REFUSED"),
        ({"ca_path": "none.pem"}, "CERTIFICATE_NOT_USABLE"),
        ({"ca_path": "farm.key"}, "CERTIFICATE_NOT_USABLE"),
        ({"key_path": "none.key"}, "CERTIFICATE_NOT_USABLE"),
        ({"key_path": "other/ws01.key"}, "CERTIFICATE_NOT_USABLE"),
        ({"key_path": "locked.key"}, "CERTIFICATE_NOT_USABLE"),
        ({"token_path": "studio-ca.pem"}, "TOKEN_REFUSED"),
    ],
)
def test_each_file_that_does_not_fit_is_told_apart(
    far_daemon: DaemonProcess, changed: dict[str, str], wanted: str
) -> None:
    if not (far_daemon.folder / "other").exists():
        make_certificates(far_daemon.folder / "other")
        encrypt = ["openssl", "pkcs8", "-topk8", "-in", "ws01.key", "-out", "locked.key", "-passout", "pass:x"]
        subprocess.run(encrypt, cwd=far_daemon.folder, check=True, capture_output=True)
    named = {name: text if name == "server_name" or not text else str(far_daemon.folder / text)
             for name, text in changed.items()}  # fmt: skip
    with pytest.raises(HostError) as failure:
        far_daemon.connect(**{**far_daemon.from_afar(), **named})
    assert failure.value.reason == wanted
    assert failure.value.is_unreachable
    assert explain(failure.value).remedy
