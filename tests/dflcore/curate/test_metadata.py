import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.curate.metadata import SavedFaceset, read_metadata, save_metadata
from dflcore.curate.restore import restore_metadata
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.aligned_image import write_aligned
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter
from dflcore.progress import StopRequest
from dflcore.types import Authorization, FaceRecord, FaceType, Origin
from killing import kill_everywhere
from small_facesets import PLATE, Watcher, make_image, make_record, noise_faceset, write_faceset

NAME = "shot_000001_0.png"


@pytest.fixture
def faceset(tmp_path: Path) -> Path:
    bare = make_record(7, identity=None, track_id=None, spread=None, origin=Origin.IMPORTED, original_name="Zoë 7.jpg")
    bare = replace(bare, landmarks=replace(bare.landmarks, depth=None), plate="/plates/another.mov", name="other_0.png")
    faces = [(make_record(frame), make_image(frame)) for frame in (1, 2, 3)] + [(bare, make_image(7))]
    return write_faceset(tmp_path / "faces of Zoë", faces)


def everything(folder: Path) -> list[tuple[FaceRecord, list[bytes]]]:
    with Faceset.open(folder) as opened:
        rows = []
        for record in opened.records():
            arrays = [
                value.tobytes()
                for value in (
                    record.landmarks.points,
                    record.landmarks.depth,
                    record.identity,
                    record.aligned_from_plate,
                )
                if value is not None
            ]
            bare: dict[str, object] = {"landmarks": None, "identity": None, "aligned_from_plate": None}
            rows.append((replace(record, **bare), arrays))
        return rows


def examined(folder: Path, plate: str = PLATE) -> dict[int, str]:
    with FacesetWriter(
        folder, face_type=FaceType.FULL, aligned_size=64, settings={}, authorization=Authorization()
    ) as writer:
        return writer.examined_frames(plate)


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_a_lost_index_comes_back_exactly(faceset: Path, tmp_path: Path, suffix: str) -> None:
    before = everything(faceset)
    control = Watcher()
    saved = save_metadata(faceset, tmp_path / f"meta{suffix}", control)
    assert (saved.faces, saved.stopped) == (4, None)
    assert control.progress()[-1].done == 4
    (faceset / INDEX_NAME).unlink()
    result = restore_metadata(faceset, saved.path, control)
    assert (result.faces, result.resized, result.is_recreated, result.stopped) == (4, 0, True, None)
    assert everything(faceset) == before
    with Faceset.open(faceset) as opened:
        assert opened.info.plates == ("/plates/another.mov", PLATE)
        assert opened.info.authorization.reference == "R-17"
        assert opened.info.settings["detector"] == "dlib_hog"
    assert examined(faceset) == {1: "key 1", 2: "key 2", 3: "key 3", 99_999: "nobody"}
    assert examined(faceset, "/plates/another.mov") == {7: "key 7"}
    assert sorted(path.name for path in faceset.iterdir() if path.suffix != ".png") == [".lock", INDEX_NAME]


def test_the_file_is_json_with_one_face_per_line_and_the_same_each_time(faceset: Path, tmp_path: Path) -> None:
    save_metadata(faceset, tmp_path / "a.json", Watcher())
    save_metadata(faceset, tmp_path / "b.json.gz", Watcher())
    save_metadata(faceset, tmp_path / "c.json.gz", Watcher())
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    read = json.loads(text)
    assert (read["format"], read["version"]) == ("dfl-faceset-metadata", 1)
    assert len(text.splitlines()) == 2 + 4 + 1
    assert gzip.decompress((tmp_path / "b.json.gz").read_bytes()).decode() == text
    assert (tmp_path / "b.json.gz").read_bytes() == (tmp_path / "c.json.gz").read_bytes()
    assert set(SavedFaceset.model_json_schema()["required"]) == {"format", "version", "faceset", "faces"}


def test_a_damaged_index_is_set_aside_and_made_anew(faceset: Path, tmp_path: Path) -> None:
    before = everything(faceset)
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    for number in (1, 2):
        (faceset / INDEX_NAME).write_bytes(b"garbage" * 1000)
        assert restore_metadata(faceset, tmp_path / "meta.json", Watcher()).is_recreated
        assert everything(faceset) == before
        assert (faceset / f"{INDEX_NAME}.damaged-{number}").read_bytes() == b"garbage" * 1000


def test_an_index_damaged_somewhere_inside_is_damaged_too(tmp_path: Path) -> None:
    folder = noise_faceset(tmp_path / "a", 40)
    save_metadata(folder, tmp_path / "meta.json", Watcher())
    before = everything(folder)
    data = bytearray((folder / INDEX_NAME).read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (folder / INDEX_NAME).write_bytes(data)
    assert restore_metadata(folder, tmp_path / "meta.json", Watcher()).is_recreated
    assert everything(folder) == before


def test_a_sound_index_gets_back_what_was_changed_and_keeps_other_frames(faceset: Path, tmp_path: Path) -> None:
    before = everything(faceset)
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    with FacesetWriter(
        faceset, face_type=FaceType.FULL, aligned_size=64, settings={"detector": "new"}, authorization=Authorization()
    ) as writer:
        writer.add_frame(PLATE, 1, (640, 480), [(make_record(1, score=0.1), make_image(1))], key="new")
        writer.add_frame(PLATE, 50, (640, 480), [(make_record(50), make_image(50))], key="new")
    assert not restore_metadata(faceset, tmp_path / "meta.json", Watcher()).is_recreated
    after = everything(faceset)
    assert [row for row in after if row[0].frame != 50] == before
    assert len(after) == 5
    assert examined(faceset)[1] == "key 1"


def test_images_that_came_back_in_another_size_are_resized(
    faceset: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    face = np.ascontiguousarray(astronaut[:256, 120:376])
    small = cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA)
    write_aligned(faceset / NAME, small, "png")
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    write_aligned(faceset / NAME, face, "png")
    (faceset / "other_0.png").write_bytes(b"damaged")
    write_aligned(faceset / "shot_000002_0.png", face[:100, :90], "png")
    untouched = (faceset / "shot_000003_0.png").stat().st_mtime_ns
    control = Watcher()
    result = restore_metadata(faceset, tmp_path / "meta.json", control)
    assert (result.resized, result.unusable) == (1, 2)
    assert "FACES_UNUSABLE" in control.reasons()
    assert (faceset / "shot_000003_0.png").stat().st_mtime_ns == untouched
    with Faceset.open(faceset) as opened:
        difference = np.abs(opened.read_image(NAME).astype(int) - small)
    assert difference.mean() < 3.0


def test_a_deleted_face_stays_deleted_until_its_image_is_back(faceset: Path, tmp_path: Path) -> None:
    data = (faceset / NAME).read_bytes()
    (faceset / NAME).unlink()
    assert save_metadata(faceset, tmp_path / "meta.json", Watcher()).faces == 4
    (faceset / INDEX_NAME).unlink()
    restore_metadata(faceset, tmp_path / "meta.json", Watcher())
    with Faceset.open(faceset) as opened:
        assert NAME not in opened.names
    (faceset / NAME).write_bytes(data)
    with Faceset.open(faceset) as opened:
        assert NAME in opened.names


def test_stopping_leaves_no_file_and_no_half_index(faceset: Path, tmp_path: Path) -> None:
    assert save_metadata(faceset, tmp_path / "meta.json", Watcher(stop_after=2)).stopped is StopRequest.CANCEL
    assert list(tmp_path.glob("*.json")) == []
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    (faceset / INDEX_NAME).unlink()
    result = restore_metadata(faceset, tmp_path / "meta.json", Watcher(stop_after=2))
    assert (result.stopped, result.faces) == (StopRequest.CANCEL, 0)
    assert not (faceset / INDEX_NAME).exists()
    assert restore_metadata(faceset, tmp_path / "meta.json", Watcher()).faces == 4


def _restore(folder: Path, control: Watcher) -> None:
    restore_metadata(folder / "a", folder / "meta.json", control)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["sound", "damaged", "lost"])
def test_killed_anywhere_the_same_call_finishes(tmp_path: Path, state: str) -> None:
    original = tmp_path / "original"
    noise_faceset(original / "a", 2)
    wanted = everything(original / "a")
    save_metadata(original / "a", original / "meta.json", Watcher())
    index = original / "a" / INDEX_NAME
    if state == "damaged":
        index.write_bytes(b"garbage" * 1000)
    elif state == "lost":
        index.unlink()
    folders = kill_everywhere("test_metadata", "_restore", original, Path(__file__).parent)
    assert len(folders) > 3
    for folder in folders:
        if state == "sound":
            assert everything(folder / "a") == wanted
        _restore(folder, Watcher())
        assert everything(folder / "a") == wanted


def saved_values(faceset: Path) -> dict:
    file = faceset.parent / "meta.json"
    save_metadata(faceset, file, Watcher())
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("version",), 2),
        (("format",), "other"),
        (("faces", 0, "name"), "../up.png"),
        (("faces", 0, "name"), "index.sqlite"),
        (("faces", 0, "name"), "shot_000002_0.png"),
        (("faces", 0, "frame"), "1"),
        (("faces", 0, "frame"), 10**30),
        (("faces", 0, "box"), [1, 2, 3]),
        (("faces", 0, "landmarks", "points"), "AAAA"),
        (("faces", 0, "landmarks", "points"), "!"),
        (("faces", 0, "identity"), "AADAfw=="),  # NaN
        (("faces", 0, "origin"), "guessed"),
        (("faces", 0, "extra"), 1),
        (("faceset", "face_type"), "giant"),
        (("faces",), {}),
    ],
)
def test_what_is_wrong_in_a_file_is_named_and_nothing_is_changed(
    faceset: Path, place: tuple[str | int, ...], value: object
) -> None:
    values = saved_values(faceset)
    owner = values
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = value
    file = faceset.parent / "hostile.json"
    file.write_text(json.dumps(values))
    before = (faceset / INDEX_NAME).read_bytes()
    with pytest.raises(DataCorrupt, match=r"hostile\.json"):
        restore_metadata(faceset, file, Watcher())
    assert (faceset / INDEX_NAME).read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b'{"format": NaN}'])
def test_files_that_are_no_metadata(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(DataCorrupt, match=r"x\.json"):
        read_metadata(file)
    (tmp_path / "x.json.gz").write_bytes(data)
    with pytest.raises(DataCorrupt, match=r"x\.json\.gz"):
        read_metadata(tmp_path / "x.json.gz")


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    values = {"format": "dfl-faceset-metadata", "version": 1}
    data = gzip.compress(json.dumps(values).encode())
    file = folder / "x.json.gz"
    file.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(DataCorrupt):
        read_metadata(file)


def test_a_file_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflcore.curate.metadata.MAX_BYTES", 1000)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(DataCorrupt, match="larger than 1000"):
        read_metadata(tmp_path / "bomb.json.gz")


def test_refusals(faceset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\.json"):
        save_metadata(faceset, tmp_path / "meta.dat", Watcher())
    with pytest.raises(NotFound):
        save_metadata(tmp_path / "nowhere", tmp_path / "meta.json", Watcher())
    with pytest.raises(NotFound):
        restore_metadata(faceset, tmp_path / "nowhere.json", Watcher())
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    with pytest.raises(NotFound):
        restore_metadata(tmp_path / "nowhere", tmp_path / "meta.json", Watcher())
    other = write_faceset(tmp_path / "half", [(make_record(1, face_type=FaceType.HALF), make_image(1))])
    with pytest.raises(Conflict, match="half faces of 64 px"):
        restore_metadata(other, tmp_path / "meta.json", Watcher())
    renamed = write_faceset(tmp_path / "renamed", [(make_record(9, name=NAME), make_image(1))])
    with pytest.raises(Conflict, match="renamed"):
        restore_metadata(renamed, tmp_path / "meta.json", Watcher())


def test_an_archived_copy_of_the_images_becomes_a_faceset_again(faceset: Path, tmp_path: Path) -> None:
    save_metadata(faceset, tmp_path / "meta.json.gz", Watcher())
    copy = tmp_path / "copy"
    copy.mkdir()
    for image in faceset.glob("*.png"):
        shutil.copy(image, copy)
    assert restore_metadata(copy, tmp_path / "meta.json.gz", Watcher()).is_recreated
    before = everything(faceset)
    assert everything(copy) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(faceset: Path, tmp_path: Path) -> None:
    save_metadata(faceset, tmp_path / "meta.json", Watcher())
    faceset.chmod(0o500)
    try:
        with pytest.raises(InvalidInput, match="may write"):
            restore_metadata(faceset, tmp_path / "meta.json", Watcher())
    finally:
        faceset.chmod(0o700)
