"""Answers of the query worker, asked without a daemon: what is in them, and what is refused."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dflcore.config.curate import OPERATIONS
from dflcore.errors import DflError
from dflcore.io.faceset import Faceset
from dfldaemon import query_worker
from dfldaemon.jobs import ErrorReport
from dflproto.v1 import faceset_service_pb2 as wire
from small_facesets import PLATE, make_image, make_record, noise_faceset, write_faceset


def ask(question: str, answer_class: Any = wire.ListFacesResponse, **arguments: Any) -> Any:
    """The answer as the daemon reads it; a refusal is raised as the daemon does."""
    line = json.loads(json.dumps(query_worker.answer({"type": question, **arguments})))
    if line["type"] == "failed":
        raise ErrorReport(**line["error"]).error()
    return answer_class.FromString(base64.b64decode(line["answer"]))


def every_page(path: Path, size: int, **arguments: Any) -> list[wire.ListFacesResponse]:
    pages = [ask("faces", path=str(path), size=size, page_token="", **arguments)]
    while pages[-1].next_page_token:
        token = pages[-1].next_page_token
        pages.append(ask("faces", path=str(path), size=size, page_token=token, **arguments))
    return pages


def names_on(pages: Sequence[wire.ListFacesResponse]) -> list[str]:
    return [face.name for page in pages for face in page.faces]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return noise_faceset(tmp_path / "faces", 7)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_join_to_the_whole_in_any_order(faces: Path, size: int) -> None:
    with Faceset.open(faces) as faceset:
        everything = list(faceset.names)
    for arguments in ({}, {"sort_by": "face-yaw"}, {"where": "frame > 2"}, {"where": "frame > 2", "reverse": 1}):
        pages = every_page(faces, size, **arguments)
        whole = names_on(every_page(faces, 1000, **arguments))
        assert names_on(pages) == whole
        assert {page.total_count for page in pages} == {len(whole)}
        assert set(whole) <= set(everything)
        assert all(len(page.faces) == size for page in pages[:-1])
    assert names_on(every_page(faces, size)) == everything
    sorted_page = ask("faces", path=str(faces), size=1, page_token="", sort_by="face-yaw")
    assert sorted_page.faces[0].HasField("sort_value")
    assert not every_page(faces, 1)[0].faces[0].HasField("sort_value")


def test_a_page_never_outgrows_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = noise_faceset(tmp_path / "faces", 9)
    whole = ask("faces", path=str(faces), size=1000, page_token="")
    monkeypatch.setattr(query_worker, "MAX_PAGE_BYTES", 2 * whole.faces[0].ByteSize())
    pages = every_page(faces, 1000)
    assert names_on(pages) == [face.name for face in whole.faces]
    assert all(1 <= len(page.faces) <= 3 for page in pages)
    monkeypatch.setattr(query_worker, "MAX_PAGE_BYTES", 1)
    assert [len(page.faces) for page in every_page(faces, 1000)] == [1] * 9


def test_a_face_that_went_between_two_pages(faces: Path) -> None:
    first = ask("faces", path=str(faces), size=3, page_token="")
    (faces / first.next_page_token).unlink()
    with pytest.raises(DflError, match="list from the first page"):
        ask("faces", path=str(faces), size=3, page_token=first.next_page_token)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"where": "__import__('os').system('true')"}, "__import__"),
        ({"where": "().__class__"}, "filter"),
        ({"where": "blur > 1"}, "measure"),
        ({"where": "(" * 2000}, "filter"),
        ({"where": "\0"}, "filter"),
        ({"sort_by": "beauty"}, "beauty"),
        ({"sort_by": "blur"}, "measure"),
        ({"view": "a/b"}, "cannot name a view"),
        ({"view": "none"}, "no view named"),
    ],
)
def test_questions_that_make_no_sense_are_answered_in_a_sentence(
    faces: Path, arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(DflError, match=says) as caught:
        ask("faces", path=str(faces), size=10, page_token="", **arguments)
    assert caught.value.reason != "UNEXPECTED"


def test_tracks_are_of_one_plate_each(tmp_path: Path) -> None:
    records = [make_record(frame, track_id=1) for frame in (1, 2, 5)]
    records += [make_record(9, track_id=1, plate="/plates/b.####.exr", name="b_9.png")]
    records += [make_record(7, track_id=None), make_record(8, track_id=2)]
    faces = write_faceset(tmp_path / "faces", [(record, make_image(record.frame)) for record in records])
    tracks = ask("tracks", wire.ListTracksResponse, path=str(faces)).tracks
    found = {(track.plate, track.track_id): (track.first_frame, track.last_frame, track.face_count) for track in tracks}
    assert found == {(PLATE, 1): (1, 5, 3), (PLATE, 2): (8, 8, 1), ("/plates/b.####.exr", 1): (9, 9, 1)}


def test_curation_describes_itself() -> None:
    described = ask("curation", wire.DescribeCurationResponse)
    assert [one.name for one in described.operations] == list(OPERATIONS)
    assert all(one.help for one in (*described.fields, *described.sorts, *described.operations))
    by_name = {one.name: one for one in described.operations}
    assert by_name["coverage"].other_help
    assert by_name["sort"].output_optional
    assert not by_name["measure"].other_help


def correct(path: Path, plate: str, corrections: object, *, add: int = 0, forget: Sequence[int] = ()) -> list[int]:
    answer = ask(
        "correct",
        wire.CorrectFacesResponse,
        path=str(path),
        plate=plate,
        corrections=json.dumps(corrections),
        add=add,
        forget=json.dumps(list(forget)),
    )
    return list(answer.frames)


def stated(path: Path, plate: str = "") -> list[tuple[int, list[float]]]:
    answer = ask("corrections", wire.ListCorrectionsResponse, path=str(path), plate=plate)
    return [(one.frame, list(one.box_xyxy_px)) for one in answer.corrections]


def test_corrections_replace_add_and_are_forgotten(tmp_path: Path) -> None:
    one, two = [1.0, 2.0, 30.0, 40.0], [100.0, 2.0, 130.0, 40.0]
    assert stated(tmp_path) == []
    assert list(tmp_path.iterdir()) == [], "a question makes no file"
    assert correct(tmp_path, "/p.#.exr", [{"frame": 3, "box": one}]) == [3]
    assert correct(tmp_path, "", [{"frame": 3, "box": two}], add=1) == [3]
    assert stated(tmp_path) == [(3, one), (3, two)]
    assert correct(tmp_path, "", [{"frame": 3, "box": two}, {"frame": -4, "box": one}]) == [-4, 3]
    assert stated(tmp_path) == [(-4, one), (3, two)]
    assert correct(tmp_path, "", [], forget=[3, 77]) == [3, 77]
    assert stated(tmp_path) == [(-4, one)]
    correct(tmp_path, "/q.#.exr", [{"frame": 1, "box": one}])
    with pytest.raises(DflError, match=r"/p\.#\.exr, /q\.#\.exr"):
        stated(tmp_path)
    assert stated(tmp_path, "/q.#.exr") == [(1, one)]


@pytest.mark.parametrize(
    "entry",
    [
        {"frame": 1},
        {"frame": 1, "box": [1, 2, 3]},
        {"frame": 1, "box": [float("nan"), 2, 3, 4]},
        {"frame": 1, "box": [1e9, 2, 2e9, 4]},
        {"frame": 1, "landmarks": [[1, 2]] * 67},
        {"frame": 1, "landmarks": [[1, 2]] * 67 + [[1]]},
        {"frame": 1, "placement": {"nose": [1, 2], "size": 0}},
        {"frame": 1, "placement": {"nose": [1, 2], "size": 9}, "box": [1, 2, 3, 4]},
        {"frame": 1.5, "box": [1, 2, 3, 4]},
        {"frame": True, "box": [1, 2, 3, 4]},
        {"frame": 1, "box": [1, 2, 3, 4], "remove": 1},
        "box",
    ],
)
def test_a_correction_that_is_none_changes_nothing(tmp_path: Path, entry: object) -> None:
    good = {"frame": 2, "box": [1, 2, 30, 40]}
    correct(tmp_path, "/p.#.exr", [good])
    with pytest.raises(DflError) as caught:
        correct(tmp_path, "/p.#.exr", [{"frame": 3, "box": [1, 2, 30, 40]}, entry])
    assert caught.value.reason == "BAD_CORRECTION"
    assert stated(tmp_path) == [(2, [1, 2, 30, 40])]


def test_folders_that_are_damaged_or_gone(faces: Path, tmp_path: Path) -> None:
    for question in ("faceset", "tracks"):
        with pytest.raises(DflError) as caught:
            ask(question, path=str(tmp_path / "none"))
        assert caught.value.reason == "FACESET_NOT_FOUND"
    with pytest.raises(DflError) as caught:
        stated(tmp_path / "none")
    assert caught.value.reason == "FACESET_NOT_FOUND"
    (tmp_path / "sightings.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(DflError) as caught:
        stated(tmp_path)
    assert caught.value.reason == "SIGHTINGS_DAMAGED"
    index = faces / "index.sqlite"
    for damage in (b"", b"garbage", index.read_bytes()[:5000]):
        copy = Path(shutil.copytree(faces, tmp_path / f"copy{len(damage)}"))
        (copy / "index.sqlite").write_bytes(damage)
        with pytest.raises(DflError) as caught:
            list(ask("faces", path=str(copy), size=10, page_token="").faces)
            raise DflError("an empty index is an empty set", reason="EMPTY")
        assert caught.value.reason in ("FACESET_INDEX_DAMAGED", "EMPTY", "NOT_A_FACESET"), caught.value
    with sqlite3.connect(index) as database:
        database.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    with pytest.raises(DflError) as caught:
        ask("faceset", path=str(faces))
    assert caught.value.reason == "FACESET_LAYOUT"


def test_corrections_as_large_as_a_call_come_through_the_channel(tmp_path: Path) -> None:
    """Sixteen megabytes on one line, to a process of its own."""
    script = (
        "import json, sys; from dfldaemon import query_worker\n"
        "line = json.loads(sys.stdin.readline()); print(query_worker.answer(line)['type'])"
    )
    points = [[123.45678901234, 234.56789012345]] * 68
    entries = [{"frame": frame, "landmarks": points} for frame in range(7000)]
    question = {"type": "correct", "path": str(tmp_path), "plate": "/p.#.exr", "corrections": json.dumps(entries),
                "add": 0, "forget": "[]"}  # fmt: skip
    line = json.dumps(question)
    assert len(line) > 16 << 20
    done = subprocess.run([sys.executable, "-c", script], input=line + "\n", capture_output=True, text=True, check=True)
    assert done.stdout == "answer\n"


def test_corrections_are_not_left_where_no_extraction_looks(tmp_path: Path) -> None:
    entry = {"frame": 3, "box": [1, 2, 30, 40]}
    correct(tmp_path, "/p.#.exr", [entry])
    person = tmp_path / "person_01"
    person.mkdir()
    (person / "index.sqlite").touch()
    for ask_it in (lambda: correct(person, "/p.#.exr", [entry]), lambda: stated(person)):
        with pytest.raises(DflError, match="several people") as caught:
            ask_it()
        assert caught.value.reason == "PERSON_OF_SEVERAL"
    assert [one.name for one in person.iterdir()] == ["index.sqlite"]
