"""Filters choose what they say, and what they cannot say is refused where it stands."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dflcore.curate.fields import FIELDS, fields
from dflcore.curate.table import FaceTable
from dflcore.curate.where import MAX_DEPTH, MAX_LENGTH, Filter, glob_matcher, select_faces
from dflcore.errors import InvalidInput


@pytest.fixture
def table(sixty_faces: Path) -> FaceTable:
    return FaceTable.open(sixty_faces)


def chosen(table: FaceTable, where: str) -> list[bool]:
    return Filter(where).select(table).tolist()


def test_the_example(table: FaceTable) -> None:
    where = 'blur > 0.05 and abs(yaw) < 40 and not (track in (1, 3)) and name like "a_0010*"'
    blur, track = table.metric("blur"), table.column("track_id")
    yaw = np.degrees(table.column("yaw"))
    wanted = [
        bool(blur[row] > 0.05 and abs(yaw[row]) < 40 and track[row] == 2 and name.startswith("a_0010"))
        for row, name in enumerate(table.names)
    ]
    assert any(wanted)
    assert chosen(table, where) == wanted
    assert select_faces(table, where).names == [n for n, is_in in zip(table.names, wanted, strict=True) if is_in]
    assert Filter(where).fields == ("blur", "yaw", "track", "name")
    assert Filter(where).needs_pixels
    assert not Filter("abs(yaw) < 40").needs_pixels


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("frame >= 1010", lambda f: f.frame >= 1010),
        ("1005 < frame <= 1010", lambda f: 1005 < f.frame <= 1010),
        ("frame = 1010 or frame == 1012", lambda f: f.frame in (1010, 1012)),
        ("frame != 1010", lambda f: f.frame != 1010),
        ("frame / 2 - 3 * 4 + 1 > 490.5", lambda f: f.frame / 2 - 12 + 1 > 490.5),
        ("frame - 1 - 1 < 1003", lambda f: f.frame - 2 < 1003),
        ("-yaw > .5", lambda f: -f.yaw > 0.5),
        ("- - yaw > 5e-1", lambda f: f.yaw > 0.5),
        ("max(yaw, pitch, 3) > 10", lambda f: max(f.yaw, f.pitch, 3) > 10),
        ("min(yaw, pitch) > 1", lambda f: min(f.yaw, f.pitch) > 1),
        ("not frame > 1010 and yaw > 0", lambda f: (not f.frame > 1010) and f.yaw > 0),
        ("yaw > 0 or pitch > 0 and roll > 1", lambda f: f.yaw > 0 or (f.pitch > 0 and f.roll > 1)),
        ("(yaw > 0 or pitch > 0) and frame < 1020", lambda f: (f.yaw > 0 or f.pitch > 0) and f.frame < 1020),
        ("frame in (1001, 1000 + 2)", lambda f: f.frame in (1001, 1002)),
        ("frame not in (1001, 1002)", lambda f: f.frame not in (1001, 1002)),
        ("plate like '*a_shot*'", lambda f: "a_shot" in f.plate),
        ("plate not like '*a_shot*'", lambda f: "a_shot" not in f.plate),
        ("origin == 'detected' AND Yaw > 0", lambda f: f.yaw > 0),
        ("origin in ('manual', \"imported\")", lambda f: False),
        ("1 < 2", lambda f: True),
        ("(frame) * (2) = 2020", lambda f: f.frame == 1010),
    ],
)
def test_means_what_it_says(where: str, wanted: Callable[[SimpleNamespace], bool], table: FaceTable) -> None:
    columns = {angle: np.degrees(table.column(angle)) for angle in ("yaw", "pitch", "roll")}
    columns |= {"frame": table.column("frame"), "plate": table.text("plate")}
    faces = [SimpleNamespace(**{name: column[row] for name, column in columns.items()}) for row in range(60)]
    assert chosen(table, where) == [bool(wanted(face)) for face in faces]


def test_what_is_not_known_is_neither_in_nor_out(table: FaceTable) -> None:
    known = ~np.isnan(table.column("track_id"))
    assert not known.all()
    assert chosen(table, "known(track)") == known.tolist()
    assert chosen(table, "not known(track)") == (~known).tolist()
    either = np.array(chosen(table, "track = 1")) | np.array(chosen(table, "not (track = 1)"))
    np.testing.assert_array_equal(either, known)
    assert all(chosen(table, "track = 1 or frame > 0"))
    assert not any(chosen(table, "track = 1 and not known(track)"))
    assert not any(chosen(table, "frame / 0 > 1"))
    assert not any(chosen(table, "original = 'x'"))
    assert not any(chosen(table, "original not like 'x'"))


def test_every_field_can_be_asked(table: FaceTable) -> None:
    for field in fields():
        test = f"{field.name} like '*'" if field.is_text else f"{field.name} < 1e30"
        assert len(chosen(table, test)) == 60
        assert field.help.endswith(".")
    assert sorted(chosen(table, "likeness > 0")).count(True) == 59
    assert {"yaw", "pitch", "roll"} == {field.name for field in fields() if field.unit == "deg"}


@pytest.mark.parametrize(
    ("where", "position", "hint"),
    [
        ("yawn > 3", 1, "yaw"),
        ("abs(yaw) < 40 and blurr > 0.1", 19, "blur"),
        ("yaw >", 6, "the filter ends"),
        ("", 1, "the filter ends"),
        ("yaw > 3)", 8, "out of place"),
        ("(yaw > 3", 9, r"'\)'"),
        ("yaw > 3 pitch", 9, "out of place"),
        ("yaw", 1, "condition"),
        ("yaw + 1", 1, "condition"),
        ("yaw > 'left'", 5, "compared"),
        ("name < 'b'", 6, "order"),
        ("name like 3", 11, "quotation"),
        ("yaw like 'x'", 1, "text"),
        ("name + 1 > 2", 1, "number"),
        ("(yaw > 3) > 2", 2, "compared"),
        ("abs(yaw, 3) > 2", 1, "one value"),
        ("min(yaw) > 2", 1, "two values"),
        ("name = 'open", 8, "not closed"),
        ("yaw > 3 & pitch > 2", 9, "'&'"),
        ("__import__('os')", 1, "no field"),
        ("yaw.real > 2", 4, "'.'"),
        ("yaw not > 2", 5, "'in' or 'like'"),
        ("yaw in 3", 8, r"'\('"),
        ("known(3)", 7, "field"),
        ("known(", 7, "filter ends"),
        ("not", 4, "filter ends"),
        ("and yaw > 2", 1, "'and'"),
    ],
)
def test_faults_are_pointed_at(where: str, position: int, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint) as caught:
        Filter(where)
    assert f"at character {position}:" in caught.value.message
    assert caught.value.details["position"] == str(position)
    assert caught.value.details["field"] == "where"


@pytest.mark.parametrize("opening", ["(", "not ", "-", "abs(", "not (not ("])
def test_nesting_is_limited(opening: str) -> None:
    with pytest.raises(InvalidInput, match=f"{MAX_DEPTH} levels"):
        Filter(opening * 300 + "yaw > 1")


def test_length_is_limited(table: FaceTable) -> None:
    long = " or ".join(["yaw > 1"] * 350)
    assert len(long) < MAX_LENGTH
    assert chosen(table, long) == chosen(table, "yaw > 1")
    with pytest.raises(InvalidInput, match="allowed"):
        Filter(" or ".join(["yaw > 1"] * 3500))


def test_measures_are_needed_only_by_those_who_ask(few_faces: Path) -> None:
    table = FaceTable.open(few_faces)
    assert len(chosen(table, "abs(yaw) < 30")) == 12
    with pytest.raises(InvalidInput, match="`measure`") as caught:
        chosen(table, "yaw > 2 and hue < 4")
    assert caught.value.reason == "NOT_MEASURED"
    assert FIELDS["hue"].needs_pixels


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("", "", True),
        ("*", "", True),
        ("a*", "abc", True),
        ("*c", "abc", True),
        ("a*c", "ac", True),
        ("ab*bc", "abc", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*b*", "abc", True),
        ("a.c", "abc", False),
        ("[a]", "[a]", True),
        ("a*b*c*d", "a1b2b3c4d", True),
        ("a*b*c*d", "acbd", False),
        ("ABC", "abc", False),
    ],
)
def test_globs(pattern: str, text: str, is_match: bool) -> None:
    assert glob_matcher(pattern)(text) is is_match


def test_a_nasty_glob_takes_no_time() -> None:
    started = time.perf_counter()
    assert not glob_matcher("a*" * 60 + "b")("a" * 5000)
    assert time.perf_counter() - started < 2.0


def test_an_empty_table_gives_nothing(table: FaceTable) -> None:
    assert chosen(table.take([]), "yaw > 1 or name like '*'") == []
