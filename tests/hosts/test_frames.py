"""Single frames and whole merges through the hosts' client: a real network, real files."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DaemonProcess
from frame_asking import make_pretending_shot

from dflcore.io.exr import read_exr_layers
from dflhost.errors import HostError
from dflhost.events import FramesDone
from dflhost.frames import EXR, FLOAT, HALF, PATH, PNG, FrameRequest, Window
from dflhost.plates import FrameSet, Plate
from dflhost.results import ResultKey, output_pattern, read_manifest, versions
from dflhost.session import DaemonSession
from dflhost.slots import read_slot
from frame_shot import NOBODY, FrameShot, write_plate


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_pretending_shot(tmp_path_factory.mktemp("shot"))


def request_of(shot: FrameShot, frame: int = 1001, **fields: Any) -> FrameRequest:
    return FrameRequest(shot.plate, frame, str(shot.model), str(shot.faceset), **fields)


def test_both_roads_bring_the_file_a_merge_writes(shot: FrameShot, session: DaemonSession, tmp_path: Path) -> None:
    shot.merge(tmp_path / "range.####.exr", (1001, NOBODY))
    expected = read_exr_layers(tmp_path / "range.1001.exr")
    streamed = session.merge_frame(request_of(shot, layers=("beauty", "matte")))
    streamed.save(str(tmp_path / "deep" / "one.exr"))
    written = session.merge_frame(
        request_of(shot, layers=("beauty", "matte"), road=PATH, output_path=str(tmp_path / "two.exr"))
    )
    assert (len(written.data), written.path) == (0, str(tmp_path / "two.exr"))
    assert (streamed.frame, streamed.face_count, streamed.key) == (1001, 1, written.key)
    assert (streamed.display_window.width, streamed.display_window.height) == (400, 300)
    for path in (tmp_path / "deep" / "one.exr", tmp_path / "two.exr"):
        found = read_exr_layers(path)
        assert all(np.array_equal(found[name], expected[name]) for name in found)
        assert set(found) == {"R", "G", "B", "A", "matte.A"}
    assert session.merge_frame(request_of(shot, NOBODY)).face_count == 0
    assert not list((tmp_path / "deep").glob(".*"))


def test_bare_pixels_and_pictures_for_an_image_editor(shot: FrameShot, session: DaemonSession, tmp_path: Path) -> None:
    shot.merge(tmp_path / "range.####.exr", (1002,))
    expected = read_exr_layers(tmp_path / "range.1002.exr")
    for pixel_format, dtype in ((HALF, np.float16), (FLOAT, np.float32)):
        picture = session.merge_frame(request_of(shot, 1002, layers=("matte", "beauty"), pixel_format=pixel_format))
        assert [(layer.name, layer.channels) for layer in picture.layers] == [("matte", "A"), ("beauty", "RGBA")]
        start = picture.layers[1].offset_bytes
        pixels = np.frombuffer(picture.data[start:], dtype).reshape(300, 400, 4)
        for place, channel in enumerate("RGBA"):
            np.testing.assert_array_equal(pixels[..., place], expected[channel].astype(dtype))
    small = session.merge_frame(request_of(shot, 1002, pixel_format=PNG, max_side_px=100))
    assert bytes(small.data[:8]) == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", small.data[16:24]) == (100, 75)
    assert small.reduction == 4
    cut = session.merge_frame(request_of(shot, 1002, pixel_format=HALF, region="window", window=Window(10, 20, 30, 40)))
    assert (cut.data_window, len(cut.data)) == (Window(10, 20, 30, 40), 30 * 40 * 4 * 2)


def test_a_newer_request_of_the_same_viewer_ends_the_older(shot: FrameShot, session: DaemonSession) -> None:
    slow = replace(request_of(shot, client_key="viewer"), model_path=str(shot.folder / "pretend-slow"))
    first = session.task(session.merge_frame, slow)
    begun = shot.folder / "pretend-slow" / "begun"
    end = time.monotonic() + 30
    while not begun.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert session.merge_frame(request_of(shot, client_key="viewer")).frame == 1001
    first.join(10)
    assert first.error is not None
    assert first.error.reason == "SUPERSEDED"


def test_a_lost_renderer_is_told_and_the_next_frame_comes(shot: FrameShot, session: DaemonSession) -> None:
    with pytest.raises(HostError) as failure:
        session.merge_frame(replace(request_of(shot), model_path=str(shot.folder / "pretend-killed")))
    assert failure.value.reason == "FRAME_WORKER_LOST"
    assert not failure.value.is_unreachable
    assert session.merge_frame(request_of(shot)).face_count == 1


def test_a_deadline_holds_for_a_frame(shot: FrameShot, session: DaemonSession) -> None:
    with pytest.raises(HostError) as failure:
        slow = replace(request_of(shot), model_path=str(shot.folder / "pretend-slow"))
        session.merge_frame(slow, deadline_s=0.5)
    assert failure.value.reason == "DAEMON_TIMEOUT"


def test_frames_are_fetched_where_no_disk_is_shared(shot: FrameShot, session: DaemonSession, tmp_path: Path) -> None:
    pattern = str(tmp_path / "here" / "shot_swap.####.exr")
    result = session.fetch_frames(request_of(shot, layers=("beauty", "matte")), (1001, NOBODY), pattern)
    assert result.frames == FrameSet((1001, NOBODY))
    assert read_exr_layers(Path(pattern.replace("####", "1001"))).keys() == {"R", "G", "B", "A", "matte.A"}
    assert session.result(pattern).frames == FrameSet()  # the daemon knows of no merge there


def test_a_streamed_range_looks_like_a_job(
    shot: FrameShot, session: DaemonSession, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    pattern = output_pattern(str(tmp_path), "far")
    request = request_of(shot, layers=("beauty", "matte"))
    job = session.submit_streamed(request, (1001, 1002, NOBODY), pattern)
    seen = list(job.follow())
    assert [event.frame for event in seen if isinstance(event, FramesDone)] == [1001, 1002, NOBODY]
    assert all(Path(event.path).is_file() for event in seen if isinstance(event, FramesDone))
    assert (job.status.text, job.status.done, job.kind) == ("Done", 3, "merge")
    again = session.submit_streamed(request, (1001,), pattern)
    assert again.wait(60).result["output"] == pattern.replace("{version}", "v002")
    assert [(one.version, len(one.frames)) for one in versions(pattern)] == [(2, 1), (1, 3)]
    slow = replace(request, model_path=str(shot.folder / "pretend-late"))
    stopped = session.submit_streamed(slow, (1001, 1002, 1003), pattern)
    assert stopped.status.text == "Merging 0/3"
    stopped.cancel()
    assert stopped.status.text == "Stopping 0/3"
    assert stopped.wait(60).state == "CANCELLED"
    broken = session.submit_streamed(replace(request, model_path="/no/model"), (1001,), pattern).wait(60)
    assert broken.error is not None
    assert (broken.state, broken.error.category) == ("FAILED", "NOT_FOUND")
    twice_lost = session.submit_streamed(
        replace(slow, model_path=str(shot.folder / "pretend-killed")), (1001,), pattern
    )
    error = twice_lost.wait(60).error
    assert error is not None
    assert error.reason == "FRAME_WORKER_LOST"


def test_a_streamed_range_waits_for_a_daemon_that_went_away(
    shot: FrameShot, own_daemon: DaemonProcess, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with own_daemon.connect() as session:
        own_daemon.stop()
        job = session.submit_streamed(request_of(shot), (1001,), str(tmp_path / "here.####.exr"))
        eventually(lambda: job.status.text == "Merging 0/1, not connected")
        own_daemon.start()
        assert job.wait(60).text == "Done"
        left = session.submit_streamed(request_of(shot), (1001, 1002), str(tmp_path / "there.####.exr"))
    assert left.wait(0).state in ("RUNNING", "CANCELLED")  # closed: nobody goes on with it


def test_pictures_that_cannot_be_written_say_so(shot: FrameShot, session: DaemonSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError) as failure:
        session.merge_frame(request_of(shot, pixel_format=EXR)).save(str(tmp_path / "file" / "one.exr"))
    assert failure.value.reason == "NOT_WRITABLE"


@pytest.mark.slow
def test_versions_updates_and_stale_marks_of_a_real_merge(
    shot: FrameShot, merging_daemon: DaemonProcess, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """What *Swap Range* and *Update* do: a range, its missing frames, new settings, a changed plate."""
    pattern = output_pattern(str(tmp_path), "shot 010")
    plate = Plate(shot.plate, FrameSet.span(1001, 1002))
    faces = (str(shot.model), str(shot.faceset))
    with merging_daemon.connect() as session:
        job = session.submit_merge(plate, *faces, pattern)
        seen = list(job.follow())
        status = job.status
        assert status.text == "Done", status.error
        assert {event.frame for event in seen if isinstance(event, FramesDone)} >= {1002}
        first = session.result(status.result["output"])
        assert (first.version, first.frames) == (1, plate.frames)
        assert first.label == "shot_010_swap v001 1001-1002"
        manifest = read_manifest(first.pattern)
        assert manifest is not None
        assert manifest.path == status.result["manifest"]
        assert dict(manifest.frames) == {one.frame: one.key for one in session.merged_frames(first.pattern)}
        assert manifest.model_digest == session.model(faces[0]).digest
        made = ResultKey.of(plate, manifest.model_digest, {})
        assert not made.compare(made, first.frames).is_stale
        longer = replace(plate, frames=FrameSet.span(1001, 1003))
        stale = made.compare(ResultKey.of(longer, manifest.model_digest, {}), first.frames)
        assert (stale.frames, stale.reason) == (FrameSet((1003,)), "1 frame not made yet.")
        update = session.submit_merge(longer, *faces, pattern).wait(120)
        assert (update.result["frames_written"], update.result["frames_kept"]) == ("1", "2")
        settings = {"profile": "flat", "matte_feather": 4.0}
        assert made.compare(ResultKey.of(plate, manifest.model_digest, settings), first.frames).changed == plate.frames
        other = session.submit_merge(plate, *faces, pattern, settings).wait(120)
        flat = session.result(other.result["output"])
        assert flat.version == 2
        assert set(flat.siblings) >= {"matte", "patch", "matte_hull", "swap"}
        assert all(Path(sibling.replace("####", "1001")).is_file() for sibling in flat.siblings.values())
        assert [(one.version, one.frames) for one in versions(pattern)] == [(2, plate.frames), (1, longer.frames)]
        time.sleep(0.01)
        write_plate(shot, 1002, gain=0.9)
        changed = made.compare(ResultKey.of(plate, manifest.model_digest, {}), first.frames)
        assert (changed.changed, changed.reason) == (FrameSet((1002,)), "The plate has changed in 1 frame.")
    assert not [one for one in threading.enumerate() if one.name.startswith("dflhost")]


def roads_of(session: DaemonSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roads that requests of this session take from now on."""
    taken: list[str] = []
    real = session._caller.stream

    def stream(service: str, method: str, request: Any, **more: Any) -> Any:
        taken.append(request["road"].removeprefix("PIXEL_ROAD_"))
        return real(service, method, request, **more)

    monkeypatch.setattr(session._caller, "stream", stream)
    return taken


def test_a_viewer_on_this_machine_reads_the_pixels_from_memory(
    shot: FrameShot, session: DaemonSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = roads_of(session, monkeypatch)
    for pixel_format in (FLOAT, HALF, PNG, EXR):
        streamed = session.merge_frame(request_of(shot, pixel_format=pixel_format))
        shared = session.merge_frame(request_of(shot, pixel_format=pixel_format, client_key="viewer"))
        assert bytes(shared.data) == bytes(streamed.data)
        assert replace(shared, data=streamed.data, steps_ms={}) == replace(streamed, steps_ms={})
    assert taken == ["STREAM", "SHARED_MEMORY"] * 4


def test_where_memory_is_not_shared_the_pixels_are_streamed(
    shot: FrameShot, session: DaemonSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that keeps a /dev/shm of its own."""
    taken = roads_of(session, monkeypatch)
    expected = bytes(session.merge_frame(request_of(shot)).data)

    def gone(path: str, *_: Any) -> int:
        raise FileNotFoundError(2, "No such file or directory", path)

    with monkeypatch.context() as patched:
        patched.setattr("dflhost.slots.os.open", gone)
        assert bytes(session.merge_frame(request_of(shot, client_key="viewer")).data) == expected
        assert bytes(session.merge_frame(request_of(shot, client_key="viewer")).data) == expected
    assert taken == ["STREAM", "SHARED_MEMORY", "STREAM", "STREAM"]  # it is not tried a second time
    with pytest.raises(HostError) as failure:
        session.merge_frame(replace(request_of(shot, client_key="viewer"), model_path="/no/model"))
    assert failure.value.category == "NOT_FOUND"


def test_memory_that_is_not_the_pictures_is_not_taken_for_it(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.write_bytes(struct.pack("<Q", 7).ljust(4096, b"\0") + b"pixels")
    header = {"path": str(slot), "offset_bytes": 4096, "size_bytes": 6, "generation": 7}
    assert bytes(read_slot(header)) == b"pixels"
    (tmp_path / "link").symlink_to(slot)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "short").write_bytes(b"x")
    cases: list[tuple[str, dict[str, Any]]] = [
        ("SUPERSEDED", {"generation": 6}),
        ("SHARED_MEMORY_NOT_FOUND", {"path": str(tmp_path / "none")}),
        ("SHARED_MEMORY_NOT_FOUND", {"path": str(tmp_path / "link")}),
        ("SHARED_MEMORY_NOT_FOUND", {"path": "a\0b"}),
        ("SHARED_MEMORY_NOT_OURS", {"path": str(tmp_path / "pipe")}),
        ("SHARED_MEMORY_NOT_OURS", {"path": str(tmp_path / "short")}),
        ("SHARED_MEMORY_NOT_FOUND", {"path": str(tmp_path)}),
        ("SHARED_MEMORY_NOT_OURS", {"size_bytes": 1 << 60}),
        ("SHARED_MEMORY_NOT_OURS", {"offset_bytes": -1}),
    ]
    for reason, changed in cases:
        with pytest.raises(HostError) as failure:
            read_slot({**header, **changed})
        assert failure.value.reason == reason, changed
