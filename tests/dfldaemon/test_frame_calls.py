"""Single frames from a real daemon: every road, who ends whom, and what becomes of a process that dies."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from frame_asking import Asking, begun, folders_of, frame_workers, pretend

from dflcore.config.merge import MergeSettings
from dflcore.errors import Cancelled, Conflict, DataCorrupt, DflError, Internal, InvalidInput, NotFound
from dflcore.io.exr import read_exr_layers
from dflcore.io.png import png_text
from dfldaemon.client import DaemonClient, session_endpoint
from dflproto.v1 import merge_service_pb2 as wire
from frame_shot import NOBODY, FrameShot

LAYERS = ["beauty", *MergeSettings().layers.split(",")]
LATE_S = 1.0
"""How long the pretended model ``late`` is at a frame."""
ROADS = [wire.PIXEL_ROAD_STREAM, wire.PIXEL_ROAD_SHARED_MEMORY, wire.PIXEL_ROAD_PATH]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("frame", [1001, NOBODY])
def test_every_road_brings_the_file_a_merge_writes(
    shot: FrameShot, client: DaemonClient, tmp_path: Path, road: int, frame: int
) -> None:
    shot.merge(tmp_path / "range.####.exr", (1001, NOBODY), matte_feather=8.0)
    is_file = road == wire.PIXEL_ROAD_PATH
    output = tmp_path / "one.exr"
    request = shot.request(
        frame,
        settings={"matte_feather": 8.0},
        layers=LAYERS,
        road=road,
        output_path=str(output) if is_file else "",
        client_key="viewer",
    )
    picture = client.merge_frame(request)
    if not is_file:
        output.write_bytes(picture.data)
    assert picture.header.size_bytes == output.stat().st_size
    assert picture.header.face_count == (frame != NOBODY)
    found, expected = read_exr_layers(output), read_exr_layers(tmp_path / f"range.{frame}.exr")
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("road", ROADS[:2])
def test_bare_pixels_are_the_files_pixels(shot: FrameShot, client: DaemonClient, tmp_path: Path, road: int) -> None:
    shot.merge(tmp_path / "range.####.exr", (1002,))
    expected = read_exr_layers(tmp_path / "range.1002.exr")
    for pixel_format, dtype in ((wire.PIXEL_FORMAT_HALF, np.float16), (wire.PIXEL_FORMAT_FLOAT, np.float32)):
        request = shot.request(
            1002, layers=["matte", "beauty", "st"], pixel_format=pixel_format, road=road, client_key="viewer"
        )
        picture = client.merge_frame(request)
        header = picture.header
        height, width = header.data_window.height, header.data_window.width
        assert [(layer.name, layer.channels) for layer in header.layers] == [
            ("matte", "A"), ("beauty", "RGBA"), ("st", "RG"),
        ]  # fmt: skip
        assert header.size_bytes == len(picture.data) == width * height * 7 * np.dtype(dtype).itemsize
        for layer in header.layers:
            count = width * height * len(layer.channels)
            values = np.frombuffer(picture.data, dtype, count, layer.offset_bytes).reshape(height, width, -1)
            for index, channel in enumerate(layer.channels):
                name = channel if layer.name == "beauty" else f"{layer.name}.{channel}"
                assert np.array_equal(values[..., index], expected[name].astype(dtype)), name


def test_a_proxy_of_the_faces_as_png(shot: FrameShot, client: DaemonClient) -> None:
    import cv2

    request = shot.request(
        pixel_format=wire.PIXEL_FORMAT_PNG, reduction=2, region=wire.FRAME_REGION_FACES, layers=["swap"]
    )
    picture = client.merge_frame(request)
    shown = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    window = picture.header.data_window
    assert shown.shape == (window.height, window.width, 3)
    assert window.width < picture.header.display_window.width == 200
    assert png_text(bytes(picture.data))["dfl/synthetic"] == "1"
    assert not picture.header.path, "a stream tells no path"


def test_a_dragged_knob_runs_no_network(shot: FrameShot, client: DaemonClient, daemon: Any) -> None:
    client.merge_frame(shot.request(1003, client_key="viewer"))
    before = frame_workers(daemon)
    pictures = [
        client.merge_frame(shot.request(1003, settings={"opacity": opacity}, client_key="viewer"))
        for opacity in (0.2, 0.4, 0.9)
    ]
    assert all(picture.header.network_reused for picture in pictures)
    assert len({bytes(picture.data) for picture in pictures}) == 3
    assert len({picture.header.key for picture in pictures}) == 3
    assert frame_workers(daemon) == before, "one process served them all"
    steps = set(pictures[0].header.steps_ms)
    assert {"warp", "write"} <= steps
    assert "network" not in steps


def test_a_newer_request_ends_the_older(shot: FrameShot, client: DaemonClient, daemon: Any) -> None:
    client.merge_frame(shot.request())  # the process is warm
    older = begun(shot, daemon, "slow", client_key="viewer")
    middle = Asking(daemon, pretend(shot, "slow", client_key="viewer"))
    older.end(5.0)
    time.sleep(0.3)
    began = time.monotonic()
    picture = client.merge_frame(shot.request(1002, client_key="viewer"))
    assert time.monotonic() - began < 15.0, "the work nobody wants has stopped"
    middle.end()
    for ended in (older, middle):
        assert isinstance(ended.error, Cancelled)
        assert (ended.error.reason, ended.picture) == ("SUPERSEDED", None)
    assert picture.header.frame == 1002


def test_other_clients_wait_their_turn(shot: FrameShot, client: DaemonClient, daemon: Any) -> None:
    client.merge_frame(shot.request())
    first = begun(shot, daemon, "late", client_key="one")
    began = time.monotonic()
    others = [Asking(daemon, shot.request(1002, client_key="two")), Asking(daemon, shot.request(1003))]
    for asking in (first, *others):
        assert asking.end().error is None
    assert min(asking.ended for asking in others) - began > LATE_S / 2


@pytest.mark.parametrize("behaviour", ["killed", "crash", "exit"])
def test_a_process_that_dies_is_told_and_replaced(
    shot: FrameShot, client: DaemonClient, daemon: Any, behaviour: str
) -> None:
    client.merge_frame(shot.request())
    before = frame_workers(daemon)
    other = begun(shot, daemon, "late", client_key="one")
    stub_error: list[grpc.StatusCode] = []
    with pytest.raises(Internal, match="ask again") as caught:
        try:
            client.merge_frame(pretend(shot, behaviour))
        except Internal as error:
            cause = error.__cause__
            assert isinstance(cause, grpc.Call)
            stub_error.append(cause.code())
            raise
    assert stub_error == [grpc.StatusCode.UNAVAILABLE]
    assert caught.value.reason == "FRAME_WORKER_LOST"
    assert caught.value.details["exit_code"] in ("-9", "-11", "3")
    assert other.end().error is None, "what came before it is answered"
    assert client.merge_frame(shot.request()).header.face_count == 1
    assert frame_workers(daemon) != before


def test_a_process_killed_from_outside(shot: FrameShot, client: DaemonClient, daemon: Any) -> None:
    client.merge_frame(shot.request())
    asking = begun(shot, daemon, "slow")
    for pid in frame_workers(daemon):
        psutil.Process(pid).kill()
    error = asking.end(10.0).error
    assert error is not None
    assert error.reason == "FRAME_WORKER_LOST"
    assert client.merge_frame(shot.request()).header.face_count == 1


def test_a_deadline_ends_the_work_too(shot: FrameShot, client: DaemonClient) -> None:
    client.merge_frame(shot.request())
    with pytest.raises(Conflict) as caught:
        client.merge_frame(pretend(shot, "slow"), deadline_s=0.5)
    assert caught.value.reason == "DAEMON_TIMEOUT"
    began = time.monotonic()
    assert client.merge_frame(shot.request()).header.face_count == 1
    assert time.monotonic() - began < 15.0


@pytest.mark.parametrize(("behaviour", "reason"), [("bug", "UNEXPECTED"), ("memory", "OUT_OF_MEMORY")])
def test_a_request_that_fails_fails_alone(
    shot: FrameShot, client: DaemonClient, daemon: Any, behaviour: str, reason: str
) -> None:
    client.merge_frame(shot.request())
    before = frame_workers(daemon)
    with pytest.raises(DflError) as caught:
        client.merge_frame(pretend(shot, behaviour))
    assert caught.value.reason == reason
    assert frame_workers(daemon) == before


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"plate_path": "shot.####.exr"}, InvalidInput, "absolute"),
        ({"plate_path": "/a/../b.####.exr"}, InvalidInput, "absolute"),
        ({"model_path": ""}, InvalidInput, "empty"),
        ({"faceset_path": "/nowhere/faces"}, NotFound, "nowhere"),
        ({"frame": 77}, NotFound, "77"),
        ({"layers": ["beauty", "depths"]}, InvalidInput, "depths; there are beauty, swap, .*, st_inverse"),
        ({"layers": ["swap,matte"]}, InvalidInput, "swap,matte"),
        ({"layers": [" matte"]}, InvalidInput, "Unknown layer"),
        ({"layers": [""]}, InvalidInput, "Unknown layer"),
        ({"settings": {"opacity": 3.0}}, InvalidInput, "opacity"),
        ({"settings": {"ocio_config": "/nowhere/c.ocio"}}, NotFound, "nowhere"),
        ({"reduction": 40}, InvalidInput, "reduction"),
        ({"reduction": -2}, InvalidInput, "reduction"),
        ({"client_key": "k" * 65}, InvalidInput, "client_key"),
        ({"client_key": "#1"}, InvalidInput, "client_key"),
        ({"road": wire.PIXEL_ROAD_SHARED_MEMORY}, InvalidInput, "client_key"),
        ({"output_path": "/tmp/a.exr"}, InvalidInput, "road"),
        ({"road": wire.PIXEL_ROAD_PATH}, InvalidInput, "output_path"),
        ({"road": wire.PIXEL_ROAD_PATH, "output_path": "/tmp/a.png"}, InvalidInput, r"\.exr"),
        ({"road": wire.PIXEL_ROAD_PATH, "output_path": "/tmp/a.x", "pixel_format": 3}, InvalidInput, "no file"),
        ({"pixel_format": 2, "layers": ["swap", "raw"]}, InvalidInput, "one layer"),
        ({"region": 3}, InvalidInput, "empty"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    shot: FrameShot, client: DaemonClient, fields: dict[str, Any], error: type[DflError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        client.merge_frame(shot.request(**fields))
    assert caught.value.reason not in ("UNEXPECTED", "INTERNAL")


def test_a_garbage_model(shot: FrameShot, client: DaemonClient, daemon: Any, tmp_path: Path) -> None:
    shutil.copytree(shot.model, tmp_path / "model")
    for weights in (tmp_path / "model").rglob("weights.safetensors"):
        weights.write_bytes(b"\x80\x04garbage")
    client.merge_frame(shot.request())
    before = frame_workers(daemon)
    with pytest.raises(DataCorrupt):
        client.merge_frame(shot.request(model_path=str(tmp_path / "model")))
    assert client.merge_frame(shot.request()).header.face_count == 1
    assert frame_workers(daemon) == before


def test_files_are_written_where_nothing_is(shot: FrameShot, client: DaemonClient, tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.png"
    request = shot.request(pixel_format=wire.PIXEL_FORMAT_PNG, road=wire.PIXEL_ROAD_PATH, output_path=str(path))
    header = client.merge_frame(request).header
    assert (header.path, header.size_bytes) == (str(path), path.stat().st_size)
    assert png_text(path.read_bytes())["dfl/faces"] == "1"
    with pytest.raises(Conflict, match="overwriting"):
        client.merge_frame(request)
    request.settings.overwrite = True
    client.merge_frame(request)
    request = shot.request(settings={"overwrite": True}, road=wire.PIXEL_ROAD_PATH, output_path=str(shot.file(1001)))
    before = shot.file(1001).read_bytes()
    with pytest.raises(InvalidInput, match="plate"):
        client.merge_frame(request)
    assert shot.file(1001).read_bytes() == before


def test_what_a_killed_process_began_is_removed(shot: FrameShot, client: DaemonClient, tmp_path: Path) -> None:
    left = tmp_path / ".one.partial-4711-c0ffee.exr"
    left.write_bytes(b"half a picture")
    os.utime(left, (0, 0))
    client.merge_frame(shot.request(road=wire.PIXEL_ROAD_PATH, output_path=str(tmp_path / "two.exr")))
    assert [path.name for path in tmp_path.iterdir()] == ["two.exr"]


def test_nothing_outside_the_roots(shot: FrameShot, start_daemon: Callable[..., Any], tmp_path: Path) -> None:
    daemon = start_daemon(roots=shot.folder)
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        assert client.merge_frame(shot.request()).header.face_count == 1
        link = shot.folder / "out.####.exr".replace("####", "0001")
        link.symlink_to("/etc/hostname")
        try:
            for fields in (
                {"plate_path": str(tmp_path / "p.####.exr")},
                {"plate_path": str(shot.folder / "out.####.exr"), "frame": 1},
                {"settings": {"ocio_config": str(tmp_path / "c.ocio")}},
                {"road": wire.PIXEL_ROAD_PATH, "output_path": str(tmp_path / "a.exr")},
                {"road": wire.PIXEL_ROAD_PATH, "output_path": str(link)},
            ):
                with pytest.raises(InvalidInput) as caught:
                    client.merge_frame(shot.request(**fields))
                assert caught.value.reason == "PATH_OUTSIDE_ROOTS"
        finally:
            link.unlink()


def test_the_process_leaves_when_nobody_asks(
    shot: FrameShot, start_daemon: Callable[..., Any], wait: Callable[..., Any], alive: Callable[[int], bool]
) -> None:
    daemon = start_daemon(frame_idle_s=0.3)
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        client.merge_frame(shot.request(road=wire.PIXEL_ROAD_SHARED_MEMORY, client_key="viewer"))
        wait(lambda: not frame_workers(daemon))
        wait(lambda: not any(any(folder.iterdir()) for folder in folders_of(daemon)))
        client.merge_frame(shot.request())


def test_a_job_gets_the_machine(
    shot: FrameShot,
    start_daemon: Callable[..., Any],
    extract_spec: Callable[..., Any],
    wait: Callable[..., Any],
    alive: Callable[[int], bool],
) -> None:
    daemon = start_daemon()
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        client.merge_frame(shot.request())
        (pid,) = frame_workers(daemon)
        job = daemon.submit(extract_spec("good", 100))
        wait(lambda: not alive(pid))
        assert client.merge_frame(shot.request(1002)).header.face_count == 1, "beside the job"
        daemon.wait_for(job.id, "SUCCEEDED", "RUNNING")


def test_nothing_is_left_behind(
    shot: FrameShot, start_daemon: Callable[..., Any], alive: Callable[[int], bool], wait: Callable[..., Any]
) -> None:
    daemon = start_daemon()
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        client.merge_frame(shot.request(road=wire.PIXEL_ROAD_SHARED_MEMORY, client_key="viewer"))
        (pid,) = frame_workers(daemon)
        assert any(any(folder.iterdir()) for folder in folders_of(daemon))
    daemon.stop()
    wait(lambda: not alive(pid))
    assert folders_of(daemon) == []
