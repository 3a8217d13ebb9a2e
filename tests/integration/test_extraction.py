"""Extraction through `dfl` and a real daemon: people, kinds of files, corrections, what is done again, what is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dflcore.errors import Conflict
from dflcore.extract.sightings import SightingStore
from dflcore.io.faceset import Faceset, lock_faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dfldaemon.client import DaemonClient, connect, session_endpoint
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2
from journey import DFL, Daemon, dfl, json_lines, wait_for_state, wait_until

pytestmark = pytest.mark.slow

FRAMES = (1001, 1002, 1003, 1004, 1005)
HEIGHT = 270
LONG = 40


@pytest.fixture(scope="module")
def portraits(astronaut: np.ndarray, hopper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two people, (240, 240, 3) uint8 sRGB RGB each."""
    crops = astronaut[:300, 90:390], hopper[20:420, 60:460]
    one, two = (cv2.resize(crop, (240, 240), interpolation=cv2.INTER_AREA) for crop in crops)
    return one, two


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory, portraits: tuple[np.ndarray, np.ndarray]) -> Path:
    """``solo``: one person; ``duo``: two; ``turned``: one lying on the side."""
    folder = tmp_path_factory.mktemp("plates")
    one, two = portraits
    for index, frame in enumerate(FRAMES):
        solo = np.full((HEIGHT, 300, 3), 90, np.uint8)
        solo[15:255, 20 + 2 * index : 260 + 2 * index] = one
        duo = np.full((HEIGHT, 540, 3), 90, np.uint8)
        duo[15:255, 10 + 2 * index : 250 + 2 * index] = one
        duo[15:255, 280 - index : 520 - index] = two
        for name, pixels in (("solo", solo), ("duo", duo), ("turned", np.rot90(solo))):
            save(folder / f"{name}.{frame}.png", pixels)
    save(folder / "portrait" / "collins.png", one)
    return folder


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))


def extract(daemon: Daemon, plate: Path, faceset: Path, *flags: str | Path) -> dict[str, Any]:
    """Run to the end; answers with the result, and ``looked`` and ``cut``: whether any frame was.

    The log of a job keeps some of its progress only, so it does not tell which.
    """
    shared = ("--aligned-size", "64")
    result = dfl("--json", "extract", plate, "--faceset", faceset, *shared, *flags, daemon=daemon)
    events = list(json_lines(result.stdout))
    done = [event for event in events if event["type"] == "frame_progress" and "frame" in event]
    return dict(events[-1]["result"]) | {
        "looked": any(event["stage"] == "look" for event in done),
        "cut": any(event["stage"] == "cut" for event in done),
        "reasons": [event["reason"] for event in events if event["type"] == "notice"],
    }


def refused(daemon: Daemon, *arguments: str | Path, code: int, says: str) -> dict[str, Any]:
    """Run, expect the exit code and the words in the last line."""
    result = dfl("--json", *arguments, daemon=daemon, check=False)
    text = result.stdout + result.stderr
    assert result.returncode == code, text
    assert "Traceback" not in text
    last = list(json_lines(result.stdout or result.stderr))[-1]
    assert says in json.dumps(last, ensure_ascii=False), text
    return last


def landmarks_of(faceset: Path) -> np.ndarray:
    with Faceset.open(faceset) as opened:
        return np.stack([record.landmarks.points for record in opened.records()])


def names_of(faceset: Path) -> list[str]:
    with Faceset.open(faceset) as opened:
        return list(opened.names)


def test_one_person_of_two_and_what_is_done_again(running: Daemon, plates: Path, tmp_path: Path) -> None:
    """Only the half of the work is repeated that a setting concerns."""
    faces = tmp_path / "faces"
    duo = plates / "duo.####.png"
    first = extract(running, duo, faces)
    assert (first["faces"], first["tracks"], first["people"]) == (str(2 * len(FRAMES)), "2", "2")
    assert first["looked"]
    assert first["cut"]
    again = extract(running, duo, faces)
    assert (again["faces"], again["looked"], again["cut"]) == (str(2 * len(FRAMES)), False, False)
    before = landmarks_of(faces)
    smoother = extract(running, duo, faces, "--smoothing-radius", "0")
    assert (smoother["looked"], smoother["cut"]) == (False, True)
    assert not np.array_equal(landmarks_of(faces), before)
    with Faceset.open(faces) as faceset:
        his = next(record.name for record in faceset.records() if record.box.left > 270)
    with MaskStore.open(faces, create=True) as store:
        store.set_label(his, Label((Polygon(True, ((9.0, 9.0), (50.0, 9.0), (50.0, 50.0))),)), made_by="test")
    picture = os.path.relpath(plates / "portrait" / "collins.png")  # as a person at a shell would write it
    kept = extract(running, duo, faces, "--smoothing-radius", "0", "--keep-person", picture)
    assert (kept["faces"], kept["people"], kept["looked"]) == (str(len(FRAMES)), "1", False)
    with Faceset.open(faces) as faceset:
        assert all(record.box.right < 270 for record in faceset.records()), "the astronaut stands on the left"
    with MaskStore.open(faces) as store:
        assert not set(store.labelled_faces()) & set(names_of(faces)), "his label is not hers now"
    all_tracks = list(json_lines(dfl("--json", "faceset", "tracks", faces, daemon=running).stdout))
    assert len(all_tracks) == 1
    chosen = extract(running, duo, faces, "--keep-tracks", str(all_tracks[0]["track_id"]))
    assert (chosen["faces"], chosen["looked"]) == (str(len(FRAMES)), False)
    refused(running, "extract", duo, "--faceset", faces, "--aligned-size", "64", "--keep-tracks", "7", code=2,
            says="There is no track 7")  # fmt: skip
    assert len(names_of(faces)) == len(FRAMES)
    refused(running, "extract", duo, "--faceset", faces, "--aligned-size", "128", code=4, says="another folder")
    assert len(names_of(faces)) == len(FRAMES)


def test_every_person_into_a_faceset_of_their_own(running: Daemon, plates: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    result = extract(running, plates / "duo.####.png", people, "--people", "separate")
    assert result["people"] == "2"
    assert [len(names_of(people / f"person_{number:02d}")) for number in (1, 2)] == [len(FRAMES)] * 2
    person = ("--people", "separate", "--authorization-person", "Eileen Collins")
    refused(running, "extract", plates / "duo.####.png", "--faceset", people, *person, code=2, says="everybody")


@pytest.mark.parametrize(
    ("kind", "suffix", "face_type", "depth"),
    [("png16", ".png", "head", np.uint16), ("exr", ".exr", "midfull", np.float32), ("jpeg", ".jpg", "full", np.uint8)],
)
def test_kinds_of_aligned_files_and_face_types(
    running: Daemon, plates: Path, tmp_path: Path, kind: str, suffix: str, face_type: str, depth: type
) -> None:
    faces = tmp_path / "faces"
    flags = ("--frames", "1001", "--aligned-format", kind, "--face-type", face_type, "--no-compute-identity")
    extract(running, plates / "solo.####.png", faces, *flags)
    assert names_of(faces) == [f"solo_001001_0{suffix}"]
    with Faceset.open(faces) as faceset:
        assert faceset.info.face_type.value == face_type
        assert faceset.read_image(faceset.names[0]).shape == (64, 64, 3)
    if suffix != ".exr":
        stored = cv2.imread(str(faces / names_of(faces)[0]), cv2.IMREAD_UNCHANGED)
        assert stored is not None
        assert stored.dtype == depth


def test_faces_lying_on_their_side(running: Daemon, plates: Path, tmp_path: Path) -> None:
    flags = ("--frames", "1001", "--no-compute-identity", "--aligned-size", "64")
    turned = plates / "turned.####.png"
    error = refused(running, "extract", turned, "--faceset", tmp_path / "f", *flags, code=2, says="shows a face")
    assert "NO_FACE_FOUND" in json.dumps(error)
    assert extract(running, turned, tmp_path / "f", *flags, "--rotations", "all")["faces"] == "1"


def corrections_file(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"corrections": list(entries)}), encoding="utf-8")
    return path


def test_corrections_are_acted_on_and_taken_back(
    running: Daemon, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, solo, three = tmp_path / "faces", plates / "solo.####.png", ("--frames", "1001-1003")
    extract(running, solo, faces, *three)
    with Faceset.open(faces) as faceset:
        seen = list(faceset.records())
    box = [seen[0].box.left, seen[0].box.top, seen[0].box.right, seen[0].box.bottom]
    points = (seen[1].landmarks.points + 2.0).tolist()
    wrong = corrections_file(tmp_path / "wrong.json", {"frame": 1001, "box": [5, 5, 1, 1]})
    refused(running, "extract", solo, "--faceset", tmp_path / "g", "--corrections", wrong, code=2, says="box")
    for number, text in enumerate(("{", '[{"frame": 1, "sparkle": 2}]')):
        garbage = tmp_path / f"garbage{number}.json"
        garbage.write_text(text)
        folder = tmp_path / f"never{number}"
        refused(running, "extract", solo, "--faceset", folder, "--corrections", garbage, code=2, says="garbage")
        assert not folder.exists(), "a file that cannot be read leaves no folder behind"
    said = corrections_file(
        tmp_path / "said.json",
        {"frame": 1001, "box": box},
        {"frame": 1002, "landmarks": points},
        {"frame": 1003, "box": box, "remove": True},
        {"frame": 1003, "placement": {"nose": [60, 215], "size": 40, "roll": 10}},
    )
    again = extract(running, solo, faces, *three, "--corrections", said)
    assert again["looked"]
    with Faceset.open(faces) as faceset:
        by_frame = {record.frame: record for record in faceset.records()}
    assert [by_frame[frame].origin.value for frame in (1001, 1002, 1003)] == ["manual"] * 3
    assert by_frame[1002].landmarks.points == pytest.approx(np.array(points), abs=1.0)
    assert by_frame[1003].landmarks.points[30] == pytest.approx([60, 215], abs=1.0)
    shown = list(json_lines(dfl("--json", "faceset", "correct", faces, daemon=running).stdout))
    assert [one["frame"] for one in shown] == [1001, 1002, 1003, 1003]
    monkeypatch.chdir(plates)  # a plate named as the shell sees it is the plate that was extracted
    told = dfl("--json", "faceset", "correct", faces, "--plate", solo.name, "--forget", "1-9000000", daemon=running)
    assert next(json_lines(told.stdout))["frames"] == [1001, 1002, 1003]
    back = extract(running, solo, faces, *three)
    assert back["looked"]
    with Faceset.open(faces) as faceset:
        assert [record.origin.value for record in faceset.records()] == ["detected"] * 3
    outside = corrections_file(tmp_path / "outside.json", {"frame": 1001, "box": [5000, 5000, 5100, 5100]})
    dfl("faceset", "correct", faces, "--file", outside, daemon=running)
    refused(running, "extract", solo, "--faceset", faces, "--aligned-size", "64", code=2, says="outside the picture")
    assert len(names_of(faces)) == 3


def test_what_was_deleted_comes_back_when_asked_for(running: Daemon, plates: Path, tmp_path: Path) -> None:
    faces, solo = tmp_path / "faces", plates / "solo.####.png"
    three = ("--frames", "1001-1003")
    extract(running, solo, faces, *three)
    (faces / "solo_001001_0.png").unlink()
    dfl("faceset", "trash", faces, "--names", "solo_001002_0.png", daemon=running)
    assert extract(running, solo, faces, *three, "--smoothing-radius", "0")["faces"] == "1"
    assert names_of(faces) == ["solo_001003_0.png"]
    restored = extract(running, solo, faces, *three, "--smoothing-radius", "0", "--restore-deleted")
    assert (restored["faces"], restored["looked"]) == ("3", False)
    assert len(names_of(faces)) == 3
    assert (faces / "trash" / "solo_001002_0.png").is_file(), "and the trash still has what was put there"


def spec(plate: Path, faceset: Path) -> job_service_pb2.JobSpec:
    settings = settings_pb2.ExtractSettings(authorization_person="test", aligned_size=64)
    body = job_service_pb2.ExtractSpec(
        plate=job_service_pb2.PlateSpec(path=str(plate)), faceset_path=str(faceset), settings=settings
    )
    return job_service_pb2.JobSpec(extract=body)


@pytest.fixture(scope="module")
def long_plate(tmp_path_factory: pytest.TempPathFactory, plates: Path) -> Path:
    """Long enough to be killed half way."""
    folder = tmp_path_factory.mktemp("long")
    for frame in range(1, LONG + 1):
        shutil.copy(plates / f"solo.{FRAMES[frame % 5]}.png", folder / f"long.{frame:04d}.png")
    return folder / "long.####.png"


def wait_for_stage(client: DaemonClient, job_id: str, stage: str, least: int) -> None:
    def there() -> bool:
        job = client.get_job(job_id)
        assert job.state != common_pb2.JOB_STATE_SUCCEEDED, "the plate is too short for this test"
        assert job.state != common_pb2.JOB_STATE_FAILED, job.error.message
        progress = job.frame_progress
        return progress.stage == stage and progress.done_count >= least

    wait_until(there, f"{least} frames were done in the stage {stage}")


def count_frames(database: Path, table: str) -> None:
    """Have SQLite itself note every frame that is written, in the order they come."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE heard (frame INTEGER)")
        connection.execute(
            f"CREATE TRIGGER hear AFTER INSERT ON {table} BEGIN INSERT INTO heard VALUES (NEW.frame); END"
        )


def frames_heard(database: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [frame for (frame,) in connection.execute("SELECT frame FROM heard ORDER BY rowid")]


def test_killed_in_either_half_and_cancelled(running: Daemon, long_plate: Path, tmp_path: Path) -> None:
    """Nothing is looked at or cut twice, and the faceset ends as if nothing had happened."""
    faces = tmp_path / "faces"
    faces.mkdir()
    SightingStore.open(faces).close()
    count_frames(faces / "sightings.sqlite", "look")
    with connect(lambda: session_endpoint(running.state_dir)) as client:
        job = client.submit(spec(long_plate, faces)).id
        wait_for_stage(client, job, "look", 5)
        kill_and_go_on(running, client, job)
        wait_for_stage(client, job, "look", 12)
        client.cancel(job)
        wait_for_state(client, job, common_pb2.JOB_STATE_CANCELLED)
        assert len(frames_heard(faces / "sightings.sqlite")) >= 12, "what was seen is kept"
        assert names_of(faces) == []
        count_frames(faces / "index.sqlite", "examined")
        client.retry(job)
        wait_for_stage(client, job, "cut", 3)
        kill_and_go_on(running, client, job)
        wait_for_state(client, job, common_pb2.JOB_STATE_SUCCEEDED)
    assert sorted(frames_heard(faces / "sightings.sqlite")) == list(range(1, LONG + 1))
    assert sorted(frames_heard(faces / "index.sqlite")) == list(range(1, LONG + 1))
    assert names_of(faces) == [f"long_{frame:06d}_0.png" for frame in range(1, LONG + 1)]
    with Faceset.open(faces) as faceset:
        assert all(faceset.read_image(name).shape == (64, 64, 3) for name in faceset.names)
    assert not [path.name for path in faces.iterdir() if path.suffix in (".tmp", ".part")]


def kill_and_go_on(daemon: Daemon, client: DaemonClient, job: str) -> None:
    """SIGKILL, then what a person does if the daemon does not go on by itself."""
    attempts = client.get_job(job).attempt_count
    daemon.worker().send_signal(signal.SIGKILL)
    ended = (common_pb2.JOB_STATE_FAILED, common_pb2.JOB_STATE_SUCCEEDED)

    def noticed() -> bool:
        state = client.get_job(job)
        return state.attempt_count > attempts or state.state in ended

    wait_until(noticed, "the kill was noticed")
    state = client.get_job(job)
    assert state.state != common_pb2.JOB_STATE_SUCCEEDED, "the plate is too short for this test"
    if state.state == common_pb2.JOB_STATE_FAILED:
        assert "Traceback" not in state.error.message
        client.retry(job)


def test_two_at_once_and_a_faceset_that_vanishes(running: Daemon, long_plate: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    extract(running, long_plate, faces, "--frames", "1-2")
    lock = lock_faceset(faces)  # another extraction, of another daemon
    try:
        with pytest.raises(Conflict):
            lock_faceset(faces)
        error = refused(running, "extract", long_plate, "--faceset", faces, "--aligned-size", "64", "--frames", "1-2",
                        code=4, says="Another process is writing")  # fmt: skip
        assert "FACESET_BUSY" in json.dumps(error)
    finally:
        os.close(lock)
    assert len(names_of(faces)) == 2
    process = subprocess.Popen(
        [*DFL, "--json", "extract", str(long_plate), "--faceset", str(faces), "--aligned-size", "64"],
        env=running.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"stage": "look"' in line and '"frame":' in line:
            break
    shutil.rmtree(faces)
    output, errors = process.communicate(timeout=120)
    text = output + errors
    assert process.returncode in (2, 3, 4, 6), text
    assert "Traceback" not in text
    assert "UNEXPECTED" not in text


def test_names_of_many_letters_and_bytes(running: Daemon, plates: Path, tmp_path: Path) -> None:
    """A plate whose name fills what a file system allows, in a folder named in three scripts."""
    folder = tmp_path / "Zoë 画像 🎬"
    folder.mkdir()
    letters = "é" * 118  # 236 bytes, with .1001.png 245
    shutil.copy(plates / "solo.1001.png", folder / f"{letters}.1001.png")
    faces = folder / ("ſ" * 120)
    assert extract(running, folder / f"{letters}.####.png", faces, "--no-compute-identity")["faces"] == "1"
    (name,) = names_of(faces)
    assert (faces / name).is_file()
    ascii_name = "s" * 241
    shutil.copy(plates / "solo.1001.png", folder / f"{ascii_name}.1001.png")
    plate = folder / f"{ascii_name}.####.png"
    result = dfl("--json", "extract", plate, "--faceset", tmp_path / "f", "--no-compute-identity", daemon=running,
                 check=False)  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode == 0, text
    assert len(names_of(tmp_path / "f")) == 1
    refused(running, "extract", plates / "solo.####.png", "--faceset", plates / "solo.1001.png", "--frames", "1001",
            code=2, says="solo.1001.png")  # fmt: skip
    too_long = tmp_path / ("x" * 300)
    refused(
        running, "extract", plates / "solo.####.png", "--faceset", too_long, code=2, says="too many for a file system"
    )


def test_a_folder_that_cannot_be_written(running: Daemon, plates: Path, tmp_path: Path) -> None:
    """A read-only mount, where this test may make one: root may write everywhere else."""
    disk = tmp_path / "disk"
    disk.mkdir()
    extract(running, plates / "solo.####.png", disk / "faces", "--no-compute-identity", "--frames", "1001")
    mounted = [["mount", "--bind", disk, disk], ["mount", "-o", "remount,bind,ro", disk]]
    if any(subprocess.run(command, capture_output=True).returncode for command in mounted):
        subprocess.run(["umount", "-l", str(disk)], capture_output=True)
        pytest.skip("may not mount a read-only folder here")
    try:
        faces, size = disk / "faces", ("--aligned-size", "64")
        listed = list(json_lines(dfl("--json", "faceset", "list", faces, daemon=running).stdout))
        assert len(listed) == 1, "what is only read needs nothing to be written"
        dfl("faceset", "correct", faces, daemon=running)
        refused(running, "extract", plates / "duo.####.png", "--faceset", faces, *size, code=2, says="Read-only")
        refused(running, "extract", plates / "duo.####.png", "--faceset", disk / "new", *size, code=2, says="Read-only")
        refused(running, "faceset", "sort", faces, "--by", "face-yaw", code=2, says="Read-only")
        said = corrections_file(tmp_path / "said.json", {"frame": 1001, "box": [1, 1, 90, 90]})
        refused(running, "faceset", "correct", faces, "--file", said, code=2, says="readonly")
        assert len(names_of(faces)) == 1
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
