"""Questions answered by the real query process on a real faceset and a pretended model."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflcore.errors import Internal, InvalidInput, NotFound, ResourceExhausted
from dflcore.io.faceset import FacesetWriter
from dflcore.merge.aovs import parse_layers
from dflcore.models import layout
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose
from dfldaemon import model_facts, queries, query_worker
from dfldaemon.queries import QueryProcess
from dfldaemon.server import QUERY_COMMAND
from dflproto.v1 import faceset_service_pb2, merge_service_pb2, model_service_pb2


def face(frame: int) -> tuple[FaceRecord, np.ndarray]:
    record = FaceRecord(
        name=f"shot_{frame:06d}_0.png",
        plate="/p.####.exr",
        frame=frame,
        face_index=0,
        plate_size=(64, 48),
        box=Box(1.0, 2.0, 30.0, 40.0),
        score=0.5,
        landmarks=Landmarks(points=np.full((68, 2), 0.5, np.float32)),
        face_type=FaceType.FULL,
        aligned_size=64,
        aligned_from_plate=np.eye(2, 3),
        pose=Pose(0.1, 0.2, 0.3),
        sharpness=0.01,
        detector="d",
        landmarker="l",
    )
    return record, np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def faceset(tmp_path: Path) -> str:
    record = Authorization(person="Ada", until="2030-01-01")
    with FacesetWriter(
        tmp_path / "faces", face_type=FaceType.FULL, aligned_size=64, settings={}, authorization=record
    ) as writer:
        for frame in range(1001, 1006):
            writer.add_frame("/p.####.exr", frame, (64, 48), [face(frame)])
    return str(tmp_path / "faces")


def with_process(body: Callable[[QueryProcess], Awaitable[None]], command: tuple[str, ...] = QUERY_COMMAND) -> None:
    async def main() -> None:
        process = QueryProcess(command)
        try:
            await body(process)
        finally:
            await process.close()

    asyncio.run(main())


def test_a_faceset_is_described_and_its_faces_are_paged(faceset: str) -> None:
    async def body(process: QueryProcess) -> None:
        answer = await process.ask("faceset", faceset_service_pb2.GetFacesetResponse, path=faceset)
        assert (answer.faceset.face_count, answer.faceset.face_type) == (5, "full")
        assert answer.faceset.authorization.person == "Ada"
        frames: list[int] = []
        token = ""
        for expected in (2, 2, 1):
            page = await process.ask(
                "faces", faceset_service_pb2.ListFacesResponse, path=faceset, size=2, page_token=token
            )
            assert len(page.faces) == expected
            frames += [face.frame for face in page.faces]
            token = page.next_page_token
        assert (frames, token) == ([1001, 1002, 1003, 1004, 1005], "")
        assert len(page.faces[0].landmarks_px) == 136
        assert list(page.faces[0].box_xyxy_px) == [1.0, 2.0, 30.0, 40.0]
        with pytest.raises(InvalidInput):
            await process.ask("faces", faceset_service_pb2.ListFacesResponse, path=faceset, size=2, page_token="gone")
        with pytest.raises(NotFound):
            await process.ask("faceset", faceset_service_pb2.GetFacesetResponse, path=faceset + "x")

    with_process(body)


def test_a_page_of_the_most_faces_fits_into_a_message() -> None:
    record, _ = face(100_000)
    from dfldaemon.convert import face_to_message
    from dfldaemon.server import MAX_MESSAGE_BYTES
    from dfldaemon.servicers.facesets import MAX_PAGE

    assert face_to_message(record).ByteSize() * MAX_PAGE < MAX_MESSAGE_BYTES


@pytest.fixture
def output(tmp_path: Path) -> str:
    """A pattern with a manifest of frames 1001 to 1025; the file of 1007 is gone."""
    entry = {"key": "k", "files": {}}
    frames = {str(frame): entry for frame in range(1001, 1026)}
    (tmp_path / "swap.provenance.json").write_text(json.dumps({"run_key": "r", "unfinished": {}, "frames": frames}))
    for frame in {*range(1001, 1026)} - {1007}:
        (tmp_path / f"swap.{frame}.exr").touch()
    return str(tmp_path / "swap.####.exr")


def test_frames_of_an_output_come_in_pages_and_all_at_once_as_ever(output: str) -> None:
    there = [frame for frame in range(1001, 1026) if frame != 1007]

    async def body(process: QueryProcess) -> None:
        answer_class = merge_service_pb2.GetMergeOutputResponse
        whole = await process.ask("output", answer_class, output=output)
        assert ([frame.frame for frame in whole.frames], whole.next_page_token) == (there, "")
        assert whole.frames[0].path == output.replace("####", "1001")
        found: list[Any] = []
        token = ""
        for expected in (10, 10, 4):
            page = await process.ask("output", answer_class, output=output, size=10, page_token=token)
            assert len(page.frames) == expected
            found += page.frames
            token = page.next_page_token
            Path(output.replace("####", "1007")).touch()  # finished when its page had gone by
        assert (found, token) == (list(whole.frames), "")
        exact = await process.ask("output", answer_class, output=output, size=25)
        assert (len(exact.frames), exact.next_page_token) == (25, "")
        for token in ("first", "1.5", "--1"):
            with pytest.raises(InvalidInput, match="first page"):
                await process.ask("output", answer_class, output=output, size=10, page_token=token)

    with_process(body)


def test_a_page_of_frames_never_outgrows_a_message(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = query_worker.answer_output(output)
    size = whole.ByteSize()
    monkeypatch.setattr(query_worker, "MAX_ANSWER_BYTES", size)
    assert query_worker.answer_output(output) == whole, "what just fits is answered"
    monkeypatch.setattr(query_worker, "MAX_ANSWER_BYTES", size - 1)
    with pytest.raises(ResourceExhausted, match="in pages") as caught:
        query_worker.answer_output(output)
    assert caught.value.reason == "TOO_MANY_FRAMES"
    monkeypatch.setattr(query_worker, "MAX_PAGE_BYTES", size // 3)
    pages: list[Any] = []
    while not pages or pages[-1].next_page_token:
        token = pages[-1].next_page_token if pages else ""
        pages.append(query_worker.answer_output(output, 10_000, token))
        assert pages[-1].ByteSize() <= size // 3 + 20
    assert len(pages) in (3, 4)
    assert [frame for page in pages for frame in page.frames] == list(whole.frames)
    monkeypatch.setattr(query_worker, "MAX_PAGE_BYTES", 1)
    assert len(query_worker.answer_output(output, 10_000).frames) == 1, "one at least"


def test_the_process_is_replaced_when_it_dies(faceset: str) -> None:
    async def body(process: QueryProcess) -> None:
        await process.ask("faceset", faceset_service_pb2.GetFacesetResponse, path=faceset)
        assert process._process is not None
        os.kill(process._process.pid, signal.SIGKILL)
        await process._process.wait()
        await process.ask("faceset", faceset_service_pb2.GetFacesetResponse, path=faceset)

    with_process(body)


def test_a_process_that_dies_over_a_question_fails_only_that() -> None:
    async def body(process: QueryProcess) -> None:
        with pytest.raises(Internal, match="died"):
            await process.ask("layers", merge_service_pb2.ListLayersResponse)

    with_process(body, (sys.executable, "-c", "import sys; sys.exit(3)"))


def test_a_question_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "ANSWER_TIMEOUT_S", 0.3)

    async def body(process: QueryProcess) -> None:
        from dflcore.errors import ResourceExhausted

        with pytest.raises(ResourceExhausted):
            await process.ask("layers", merge_service_pb2.ListLayersResponse)
        assert process._process is None

    with_process(body, (sys.executable, "-c", "import time; time.sleep(60)"))


def test_the_process_leaves_when_nobody_asks(faceset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "IDLE_S", 0.1)

    async def body(process: QueryProcess) -> None:
        await process.ask("faceset", faceset_service_pb2.GetFacesetResponse, path=faceset)
        async with asyncio.timeout(10):
            while process._process is not None:
                await asyncio.sleep(0.02)

    with_process(body)


def write_generation(model: Path, number: int, iteration: int, **state: Any) -> Path:
    folder = model / layout.GENERATIONS_NAME / f"{number:08d}"
    folder.mkdir(parents=True)
    values = {"iteration": iteration, "elapsed_s": 2.5, "software": "dfl 1", **state}
    (folder / layout.STATE_NAME).write_text(json.dumps(values))
    files = {name: {"sha256": f"{number:064d}", "size": 10} for name in (layout.WEIGHTS_NAME, "b")}
    (folder / layout.MANIFEST_NAME).write_text(json.dumps({"format": 1, "files": files}))
    return folder


def test_generations_are_read_newest_first_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    record = {"person": "Ada", "reference": "C-1", "added_later": 1}
    write_generation(tmp_path, 1, 10)
    write_generation(tmp_path, 3, 30, provenance={"source": {"authorization": record}})
    (write_generation(tmp_path, 4, 40) / layout.STATE_NAME).write_text("{")
    (tmp_path / layout.GENERATIONS_NAME / ".00000005.partial-1").mkdir()
    newest, oldest = model_facts.read_model_facts(tmp_path)
    assert (newest.number, newest.iteration, newest.size_bytes) == (3, 30, 20)
    assert newest.authorization == Authorization(person="Ada", reference="C-1")
    assert oldest.authorization == Authorization()
    assert model_facts.read_model_facts(tmp_path / "nothing") == []


def test_backups_are_read_newest_first_and_unfinished_ones_passed_over(tmp_path: Path) -> None:
    backups = tmp_path / layout.BACKUPS_NAME
    for iteration in (9_000, 20_000, 100_000_000):
        write_generation(backups / f"iteration_{iteration:08d}", 3, iteration)
    write_generation(backups / ".iteration_00030000.partial-1", 3, 30_000)
    (backups / "iteration_00000001").mkdir()
    found = model_facts.read_model_backups(tmp_path)
    assert [one.newest.iteration for one in found] == [100_000_000, 20_000, 9_000]
    assert found[1].path == backups / "iteration_00020000"
    assert model_facts.read_model_backups(tmp_path / "nothing") == []


def test_presets_layers_and_models_are_told(tmp_path: Path) -> None:
    presets = query_worker.answer({"type": "presets"})
    assert presets["type"] == "answer"
    layers = query_worker.answer_layers()
    assert isinstance(layers, merge_service_pb2.ListLayersResponse)
    assert all(layer.help and layer.channels for layer in layers.layers)
    names = [layer.name for layer in layers.layers]
    assert names[0] == ""
    assert parse_layers(",".join(names)) == tuple(names[1:]), "all that can be asked for, in file order"
    assert {"crypto_face", "id_mattes", "st_inverse"} < set(names)
    from dflcore.models.checkpoint import ModelDescription, ModelFolder

    ModelFolder.create(
        tmp_path / "m", ModelDescription(preset="p", network={"resolution": 64}, face_type=FaceType.FULL)
    )
    answer = query_worker.answer_model(str(tmp_path / "m"))
    assert isinstance(answer, model_service_pb2.GetModelResponse)
    assert (answer.model.resolution_px, answer.model.iteration, len(answer.model.generations)) == (64, 0, 0)
    write_generation(tmp_path / "m", 2, 7)
    model = query_worker.answer_model(str(tmp_path / "m")).model
    assert (model.iteration, model.trained_s, model.digest) == (7, 2.5, f"{2:064d}")
    assert (model.kind, len(model.backups)) == ("face", 0)


def test_the_backups_of_a_model_folder_are_told(tmp_path: Path) -> None:
    import torch

    from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder

    folder = ModelFolder.create(
        tmp_path / "m", ModelDescription(preset="p", network={"resolution": 64}, face_type=FaceType.FULL)
    )
    assert folder.backups_path == folder.path / layout.BACKUPS_NAME
    with folder.lock():
        for iteration in (5, 9):
            weights, state = {"w": torch.zeros(3)}, {"iteration": iteration, "elapsed_s": 1.0}
            folder.save(Generation(weights=weights, training={}, history=torch.zeros(0, 3), state=state), keep=2)
            folder.back_up(keep=5)
    newest, oldest = query_worker.answer_model(str(folder.path)).model.backups
    assert (newest.iteration, oldest.iteration) == (9, 5)
    assert newest.path == str(folder.backups_path / "iteration_00000009")
    assert query_worker.answer_model(newest.path).model.iteration == 9
    assert newest.size_bytes > 0
    assert newest.save_time.seconds > 0


def test_a_question_nobody_knows_is_an_error_of_ours() -> None:
    assert query_worker.answer({"type": "nonsense"})["type"] == "failed"
