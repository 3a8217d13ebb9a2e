"""Single frames for clients that hurry, hang up, lie about who they are, or change files under the process."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from frame_asking import (
    Asking,
    forget_begun,
    frame_workers,
    pixel_files,
    pretend,
    wait_until_begun,
)

from dflcore.errors import Cancelled, DflError
from dfldaemon.client import DaemonClient, session_endpoint
from dflproto.v1 import merge_service_pb2 as wire
from dflproto.v1 import merge_service_pb2_grpc
from frame_shot import NOBODY, FrameShot, save_model, write_plate

HURRY = 20
GROWTH_MB = 48
"""What malloc and torch may keep for themselves beyond the caches."""


def settled_files(client: DaemonClient, shot: FrameShot, daemon: Any) -> set[Path]:
    """What other clients have; the process is warm then."""
    client.merge_frame(shot.request(client_key="first"))
    return pixel_files(daemon)


def stub_of(channel: grpc.Channel) -> Any:
    return merge_service_pb2_grpc.MergeServiceStub(channel)


@pytest.mark.parametrize("road", [wire.PIXEL_ROAD_STREAM, wire.PIXEL_ROAD_SHARED_MEMORY])
def test_of_twenty_requests_in_a_hurry_one_is_answered(
    shot: FrameShot, client: DaemonClient, daemon: Any, wait: Callable[..., Any], road: int
) -> None:
    client.merge_frame(shot.request())  # the process is warm
    before, others = frame_workers(daemon), pixel_files(daemon)
    let_go = shot.folder / "pretend-held" / "let_go"
    let_go.unlink(missing_ok=True)
    asking = [Asking(daemon, pretend(shot, "held", road=road, client_key="hasty")) for _ in range(HURRY)]
    wait(lambda: sum(one.is_alive() for one in asking) == 1)
    let_go.touch()
    for one in asking:
        one.end()
    pictures = [one.picture for one in asking if one.picture is not None]
    errors = [one.error for one in asking if one.error is not None]
    assert (len(pictures), len(errors)) == (1, HURRY - 1)
    assert all(isinstance(error, Cancelled) and error.reason == "SUPERSEDED" for error in errors)
    assert bytes(pictures[0].data) == bytes(client.merge_frame(shot.request()).data)
    assert frame_workers(daemon) == before
    assert len(pixel_files(daemon) - others) <= 2, "however often it asks, a client has two slots"


@pytest.mark.parametrize("behaviour", ["slow", "late"])
@pytest.mark.parametrize("road", [wire.PIXEL_ROAD_STREAM, wire.PIXEL_ROAD_SHARED_MEMORY])
def test_who_hangs_up_over_a_frame_leaves_nothing(
    shot: FrameShot, client: DaemonClient, daemon: Any, wait: Callable[..., Any], behaviour: str, road: int
) -> None:
    others = settled_files(client, shot, daemon)
    client.merge_frame(shot.request(road=road, client_key="gone"))
    assert pixel_files(daemon) > others
    forget_begun(shot, behaviour)
    channel = daemon.channel()
    answers = stub_of(channel).MergeFrame(pretend(shot, behaviour, road=road, client_key="gone"))
    wait_until_begun(shot, behaviour)
    assert answers.is_active()
    channel.close()
    began = time.monotonic()
    wait(lambda: pixel_files(daemon) == others)
    assert client.merge_frame(shot.request()).header.face_count == 1
    assert time.monotonic() - began < 15.0, "work nobody waits for has stopped"


def test_who_hangs_up_over_a_stream_leaves_nothing(
    shot: FrameShot, client: DaemonClient, daemon: Any, wait: Callable[..., Any]
) -> None:
    layers = ["beauty", "swap", "raw", "st", "crypto_face", "st_inverse", "matte"]
    request = shot.request(layers=layers, pixel_format=wire.PIXEL_FORMAT_FLOAT, client_key="gone")
    others = settled_files(client, shot, daemon)
    channel = daemon.channel()
    answers = stub_of(channel).MergeFrame(request)
    size = next(answers).header.size_bytes
    assert size > 8 << 20, "more than waits in a connection's buffers"
    assert pixel_files(daemon) > others
    channel.close()
    wait(lambda: pixel_files(daemon) == others)


def test_a_newer_request_keeps_the_slots_of_the_older(shot: FrameShot, client: DaemonClient, daemon: Any) -> None:
    request = shot.request(road=wire.PIXEL_ROAD_SHARED_MEMORY, client_key="viewer")
    for _ in range(2):
        client.merge_frame(request)
    before = pixel_files(daemon)
    forget_begun(shot, "slow")
    older = Asking(daemon, pretend(shot, "slow", road=wire.PIXEL_ROAD_SHARED_MEMORY, client_key="viewer"))
    wait_until_begun(shot, "slow")
    client.merge_frame(request)
    assert isinstance(older.end().error, Cancelled)
    assert pixel_files(daemon) == before, "memory is used again"


@pytest.mark.parametrize("token", ["", "wrong", "a" * 1000])
def test_a_wrong_token_sees_nothing(shot: FrameShot, client: DaemonClient, daemon: Any, token: str) -> None:
    with daemon.channel(token=token) as channel, pytest.raises(grpc.RpcError) as caught:
        next(stub_of(channel).MergeFrame(shot.request()))
    error = caught.value
    assert isinstance(error, grpc.Call)
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED
    assert str(shot.folder) not in (error.details() or "")
    assert client.merge_frame(shot.request()).header.face_count == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"frame": -(2**63)},
        {"frame": 2**63 - 1},
        {"reduction": 2**63 - 1},
        {"max_side_px": -(2**63)},
        {"region": 3, "window": {"x": 2**63 - 1, "y": 0, "width": 2**63 - 1, "height": 1}},
        {"region": 3, "window": {"x": 0, "y": 0, "width": -5, "height": 5}},
        {"region": 99},
        {"pixel_format": 99},
        {"road": 99},
        {"plate_path": "/" + "a" * 5000},
        {"plate_path": "/plates/\0.####.exr"},
        {"layers": ["beauty"] * 100_000 + ["beast"]},
        {"settings": {"cast": "others = /nowhere/at/all"}},
        {"settings": {"overrides": "x" * 100_000}},
    ],
)
def test_nonsense_is_answered_and_the_process_lives(
    shot: FrameShot, client: DaemonClient, daemon: Any, fields: dict[str, Any]
) -> None:
    client.merge_frame(shot.request())
    before = frame_workers(daemon)
    error = Asking(daemon, shot.request(**fields)).end().error
    assert error is not None
    assert error.reason not in ("UNEXPECTED", "INTERNAL", "FRAME_WORKER_LOST"), error.message
    assert error.message.endswith(".")
    assert client.merge_frame(shot.request()).header.face_count == 1
    assert frame_workers(daemon) == before


def test_files_that_change_between_requests_are_seen(shot: FrameShot, client: DaemonClient, tmp_path: Path) -> None:
    shutil.copytree(shot.folder, tmp_path / "own")
    own = FrameShot(tmp_path / "own")
    request = own.request(pixel_format=wire.PIXEL_FORMAT_FLOAT)

    def beauty() -> np.ndarray:
        return np.frombuffer(bytes(client.merge_frame(request).data), np.float32)

    first = beauty()
    assert np.array_equal(beauty(), first)
    write_plate(own, 1001, gain=0.5)
    darker = beauty()
    assert 0.4 * first.mean() < darker.mean() < 0.75 * first.mean()
    save_model(own.model, seed=2)
    retrained = beauty()
    assert not np.array_equal(retrained, darker)
    shutil.copy(own.file(NOBODY), own.file(1001))
    assert not np.array_equal(beauty(), retrained)
    own.file(1001).unlink()
    with pytest.raises(DflError, match="1001"):
        beauty()


@pytest.mark.slow
def test_a_warm_process_takes_no_more_memory_than_its_caches(shot: FrameShot, start_daemon: Callable[..., Any]) -> None:
    daemon = start_daemon(frame_cache_mb=2)  # of its four frames two are kept
    looks: list[dict[str, Any]] = [
        {"opacity": 0.5},
        {"mode": "seamless"},
        {"color_transfer": "mkl", "matte_mode": "hull"},
        {"sharpen": 30.0, "grain": 20.0},
        {"smooth_colors": 1},
    ]
    layers = [["beauty"], ["beauty", "matte", "swap"], ["crypto_face"], ["st", "raw"], ["id_mattes", "st_inverse"]]
    resident: list[int] = []
    with DaemonClient(lambda: session_endpoint(daemon.state_dir)) as client:
        for number in range(200):
            request = shot.request(
                1001 + number % 4,
                settings=looks[number % len(looks)],
                layers=layers[number // 4 % len(layers)],
                reduction=1 + number % 3,
                road=wire.PIXEL_ROAD_SHARED_MEMORY,
                client_key="viewer",
            )
            client.merge_frame(request)
            (pid,) = frame_workers(daemon)
            resident.append(psutil.Process(pid).memory_info().rss >> 20)
    assert max(resident[100:]) - max(resident[:40]) < GROWTH_MB, resident[::20]
    assert len(pixel_files(daemon)) == 2
