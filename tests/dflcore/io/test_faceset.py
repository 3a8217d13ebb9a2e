import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.io.aligned_image import SUFFIXES
from dflcore.io.faceset import INDEX_NAME, SCHEMA_VERSION, Faceset, FacesetWriter
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Origin, Pose

PLATE = "/plates/shot.####.exr"


def make_record(frame: int, face_index: int = 0, plate: str = PLATE) -> FaceRecord:
    rng = np.random.default_rng(frame * 10 + face_index)
    return FaceRecord(
        name=f"shot_{frame:06d}_{face_index}.png",
        plate=plate,
        frame=frame,
        face_index=face_index,
        plate_size=(640, 480),
        box=Box(10.5, 20.25, 110.0, 140.75),
        score=0.875,
        landmarks=Landmarks(points=rng.uniform(0, 400, (68, 2)).astype(np.float32)),
        face_type=FaceType.FULL,
        aligned_size=64,
        aligned_from_plate=rng.normal(size=(2, 3)),
        pose=Pose(0.1, -0.2, 0.3),
        sharpness=0.01,
        detector="dlib_hog",
        landmarker="dlib68",
        identity=rng.normal(size=128).astype(np.float32),
    )


def make_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def open_writer(path: Path, **changes: object) -> FacesetWriter:
    arguments: dict = {
        "face_type": FaceType.FULL,
        "aligned_size": 64,
        "settings": {"detector": "auto"},
        "authorization": Authorization(person="Eileen Collins"),
    } | changes
    return FacesetWriter(path, **arguments)


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    folder = tmp_path / "faces of Zoë"
    with open_writer(folder) as writer:
        for frame in (1001, 1002):
            writer.add_frame(PLATE, frame, (640, 480), [(make_record(frame), make_image(frame))], key=f"key {frame}")
        writer.add_frame(PLATE, 1003, (640, 480), [], key="key 1003")
    return folder


def test_everything_comes_back(faceset: Path) -> None:
    with Faceset.open(faceset) as opened:
        records = list(opened.records())
        assert [record.frame for record in records] == [1001, 1002]
        wanted = make_record(1001)
        got = records[0]
        np.testing.assert_array_equal(got.landmarks.points, wanted.landmarks.points)
        np.testing.assert_array_equal(got.aligned_from_plate, wanted.aligned_from_plate)
        np.testing.assert_array_equal(got.identity, wanted.identity)
        bare = {"landmarks": None, "aligned_from_plate": None, "identity": None}
        assert replace(got, **bare) == replace(wanted, **bare)
        np.testing.assert_array_equal(opened.read_image(got.name), make_image(1001))
        info = opened.info
        assert (info.face_count, info.face_type, info.aligned_size) == (2, FaceType.FULL, 64)
        assert info.plates == (PLATE,)
        assert info.authorization.person == "Eileen Collins"


def test_a_face_deleted_by_hand_is_gone_and_nothing_else_breaks(faceset: Path) -> None:
    (faceset / make_record(1001).name).unlink()
    (faceset / "holiday.jpg").write_bytes(b"not ours")
    with Faceset.open(faceset) as opened:
        assert [record.frame for record in opened.records()] == [1002]
        assert list(opened.records_by_frame(PLATE)) == [1002]
        with pytest.raises(NotFound):
            opened.read_image(make_record(1001).name)


def test_examined_frames_include_those_without_a_face(faceset: Path) -> None:
    with open_writer(faceset) as writer:
        assert writer.examined_frames(PLATE) == {frame: f"key {frame}" for frame in (1001, 1002, 1003)}
        assert writer.examined_frames("another") == {}


def test_writing_a_frame_again_replaces_it(faceset: Path) -> None:
    with open_writer(faceset) as writer:
        writer.add_frame(PLATE, 1001, (640, 480), [(make_record(1001), make_image(5))])
    with Faceset.open(faceset) as opened:
        assert len(opened) == 2
        np.testing.assert_array_equal(opened.read_image(make_record(1001).name), make_image(5))


def test_each_face_keeps_the_size_its_plate_had(faceset: Path) -> None:
    record = replace(make_record(1001), plate_size=(1280, 960))
    with open_writer(faceset) as writer:
        writer.add_frame(PLATE, 1001, (1280, 960), [(record, make_image(5))])
    with Faceset.open(faceset) as opened:
        assert [record.plate_size for record in opened.records()] == [(1280, 960), (640, 480)]


def test_a_frame_broken_off_while_written_again_is_neither_old_nor_new(
    faceset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"new pixels")
        raise KeyboardInterrupt

    monkeypatch.setattr("dflcore.io.faceset.write_aligned", break_off)
    with open_writer(faceset) as writer, pytest.raises(KeyboardInterrupt):
        writer.add_frame(PLATE, 1001, (640, 480), [(make_record(1001), make_image(5))], key="new")
    with Faceset.open(faceset) as opened:
        assert opened.names == [make_record(1002).name]
    with open_writer(faceset) as writer:
        assert set(writer.examined_frames(PLATE)) == {1002, 1003}


@pytest.mark.parametrize("layout", [1, SCHEMA_VERSION + 1])
def test_an_index_of_another_layout_is_refused_in_words(tmp_path: Path, layout: int) -> None:
    index = tmp_path / INDEX_NAME
    database = sqlite3.connect(index)
    database.execute("CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
    database.execute("INSERT INTO about VALUES ('schema', ?), ('software', '\"dfl 9.9\"')", (str(layout),))
    database.commit()
    database.close()
    before = index.read_bytes()
    wanted = rf"layout {layout}, written by dfl 9\.9; .* layout {SCHEMA_VERSION} only\. .* new folder"
    for opener in (Faceset.open, open_writer, open_writer):  # twice: a refused writer gives its lock back
        with pytest.raises(Unsupported, match=wanted):
            opener(tmp_path)
    assert index.read_bytes() == before


def test_an_index_that_was_never_begun_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / INDEX_NAME).touch()  # what a writer killed at its very start leaves
    with pytest.raises(NotFound, match="not a faceset yet"):
        Faceset.open(tmp_path)
    open_writer(tmp_path).close()
    with Faceset.open(tmp_path) as opened:
        assert len(opened) == 0


def test_another_database_is_not_taken_for_a_faceset(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / INDEX_NAME)
    database.execute("CREATE TABLE other (x)")
    database.close()
    for opener in (Faceset.open, open_writer):
        with pytest.raises(DataCorrupt, match=INDEX_NAME):
            opener(tmp_path)


def test_another_face_type_is_refused(faceset: Path) -> None:
    with pytest.raises(Conflict, match="full faces of 64 px"):
        open_writer(faceset, face_type=FaceType.WHOLE)


def test_two_writers_at_once_are_refused(faceset: Path) -> None:
    with open_writer(faceset), pytest.raises(Conflict, match="Another process"):
        open_writer(faceset)


def test_a_stated_authorization_is_not_lost(faceset: Path) -> None:
    with open_writer(faceset, authorization=Authorization()):
        pass
    with Faceset.open(faceset) as opened:
        assert opened.info.authorization.person == "Eileen Collins"


def test_damage_is_named(faceset: Path) -> None:
    image = faceset / make_record(1001).name
    image.write_bytes(image.read_bytes()[:40])
    with Faceset.open(faceset) as opened, pytest.raises(DataCorrupt, match="shot_001001_0"):
        opened.read_image(image.name)
    (faceset / INDEX_NAME).write_bytes(b"garbage" * 1000)
    with pytest.raises(DataCorrupt, match=INDEX_NAME):
        Faceset.open(faceset)


def test_missing_folder_and_foreign_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="dfl extract"):
        Faceset.open(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="not a faceset"):
        Faceset.open(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidInput, match="may write"):
        open_writer(tmp_path / "set")


def test_a_killed_writer_leaves_whole_frames_only(tmp_path: Path) -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from test_faceset import PLATE, make_image, make_record, open_writer
from pathlib import Path
with open_writer(Path(sys.argv[1])) as writer:
    for frame in range(1, 100000):
        faces = [(make_record(frame, k), make_image(k)) for k in range(2)]
        writer.add_frame(PLATE, frame, (640, 480), faces)
        print(frame, flush=True)
"""
    folder = tmp_path / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= 5:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Faceset.open(folder) as opened:
        frames = opened.records_by_frame()
        assert set(range(1, last + 1)) <= set(frames)
        assert all(len(faces) == 2 for faces in frames.values())
        for name in opened.names:
            opened.read_image(name)
    with open_writer(folder) as writer:  # the lock died with its holder
        assert last in writer.examined_frames(PLATE)


def test_opening_many_faces_reads_no_rows_it_does_not_need(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        for frame in range(50):
            writer.add_frame(PLATE, frame, (640, 480), [(make_record(frame), make_image(0))])
    with Faceset.open(tmp_path) as opened:
        statements: list[str] = []
        database: sqlite3.Connection = opened._database
        database.set_trace_callback(statements.append)
        assert len(opened) == 50
        assert opened.record(opened.names[7]).frame == 7
        assert len(statements) == 1


def test_a_faceset_of_the_layout_before_is_brought_up_to_date_and_keeps_every_face(faceset: Path) -> None:
    index = faceset / INDEX_NAME
    with contextlib.closing(sqlite3.connect(index)) as database, database:
        for column in ("spread", "origin", "original_name"):
            database.execute(f"ALTER TABLE face DROP COLUMN {column}")
        database.execute("ALTER TABLE face ADD COLUMN mask TEXT")
        database.execute("UPDATE about SET value = '2' WHERE key = 'schema'")
    with Faceset.open(faceset) as opened:
        records = list(opened.records())
    assert [record.frame for record in records] == [1001, 1002]
    assert {record.origin for record in records} == {Origin.DETECTED}
    with open_writer(faceset) as writer:
        assert set(writer.examined_frames(PLATE)) == {1001, 1002, 1003}


@pytest.mark.parametrize(("aligned_format", "least_step"), [("png16", 1 / 65535), ("exr", 1e-3)])
def test_deep_formats_keep_what_eight_bits_lose(tmp_path: Path, aligned_format: str, least_step: float) -> None:
    ramp = np.linspace(0.25, 0.26, 64, dtype=np.float32)
    face = np.broadcast_to(ramp[None, :, None], (64, 64, 3)).copy()
    face[0, 0] = 2.5
    name = f"a{SUFFIXES[aligned_format]}"
    with open_writer(tmp_path / "set", aligned_format=aligned_format) as writer:
        writer.add_frame(PLATE, 1001, (640, 480), [(replace(make_record(1001), name=name), face)])
    with Faceset.open(tmp_path / "set") as opened:
        stored, display = opened.read_float(name), opened.read_image(name)
    assert np.abs(stored[1:] - face[1:]).max() <= least_step
    assert len(np.unique(stored[5, :, 0])) > 3 * len(np.unique(display[5, :, 0]))
    assert stored[0, 0, 0] == pytest.approx(2.5 if aligned_format == "exr" else 1.0, rel=1e-3)
    assert display.dtype == np.uint8
    assert display[0, 0, 0] == 255


def test_a_deleted_face_may_be_written_as_a_row_alone(tmp_path: Path) -> None:
    with open_writer(tmp_path / "set") as writer:
        writer.add_frame(PLATE, 1001, (640, 480), [(make_record(1001), None)])
    with Faceset.open(tmp_path / "set") as opened:
        assert opened.names == []
        assert opened.record(make_record(1001).name).frame == 1001


def test_a_slow_reader_keeps_no_writer_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflcore.io.faceset.BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr("dflcore.io.faceset._ROWS_AT_ONCE", 2)
    with open_writer(tmp_path) as writer:
        for frame in range(1, 6):
            writer.add_frame(PLATE, frame, (640, 480), [(make_record(frame), make_image(frame))])
    with Faceset.open(tmp_path) as faceset, open_writer(tmp_path) as writer:
        records = faceset.records()
        assert next(records).frame == 1
        writer.add_frame(PLATE, 3, (640, 480), [])
        writer.add_frame(PLATE, 9, (640, 480), [(make_record(9), make_image(9))])
        assert [record.frame for record in records] == [2, 4, 5]


def test_a_permission_that_is_replaced_stays_on_record(faceset: Path) -> None:
    for until in ("2027-01-31", "2028-01-31"):
        open_writer(faceset, authorization=Authorization(person="Eileen Collins", until=until)).close()
    with contextlib.closing(sqlite3.connect(faceset / INDEX_NAME)) as database:
        (history,) = database.execute("SELECT value FROM about WHERE key = 'authorization_history'").fetchone()
    assert [record["until"] for record in json.loads(history)] == ["", "2027-01-31"]
    with Faceset.open(faceset) as opened:
        assert opened.info.authorization.until == "2028-01-31"


def test_a_faceset_without_a_face_takes_another_type_and_size(tmp_path: Path) -> None:
    open_writer(tmp_path / "set").close()
    open_writer(tmp_path / "set", face_type=FaceType.WHOLE, aligned_size=128).close()
    with Faceset.open(tmp_path / "set") as opened:
        assert (opened.face_type, opened.aligned_size) == (FaceType.WHOLE, 128)
