"""Frame patterns and the files behind them."""

import pytest

from dflcore.errors import InvalidInput, NotFound
from dflcore.io.sequence import SequencePattern


def _touch(folder, *names):
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("text", "frame", "name"),
    [
        ("shots/a.####.exr", 7, "a.0007.exr"),
        ("shots/a.####.exr", 12345, "a.12345.exr"),
        ("shots/a.@@@@@.dpx", 7, "a.00007.dpx"),
        ("shots/a.%04d.exr", 7, "a.0007.exr"),
        ("shots/a_%d.png", 7, "a_7.png"),
        ("shots/a.#.tif", 7, "a.7.tif"),
        ("shots/####.EXR", 1001, "1001.EXR"),
        ("shots/a.####.exr", -5, "a.-005.exr"),
        ("shots/a.%04d.exr", -5, "a.-005.exr"),
        ("shots/v02_a.####_left.exr", 1, "v02_a.0001_left.exr"),
    ],
)
def test_path_of_a_frame(text, frame, name):
    pattern = SequencePattern.parse(text)
    assert pattern.path(frame).name == name
    assert pattern.path(frame).parent.name == "shots"
    assert not pattern.is_single


def test_frames_on_disk(tmp_path):
    _touch(tmp_path, "a.0998.exr", "a.0999.exr", "a.1000.exr", "a.10000.exr", "a.01.exr", "b.0001.exr", "a.1001.png")
    _touch(tmp_path, "a.exr", "a.x.exr", "a.0998.exr.tmp", "a.-001.exr", "a.-0002.exr")
    pattern = SequencePattern.parse(str(tmp_path / "a.####.exr"))
    assert pattern.frames_on_disk().frames == (-2, -1, 998, 999, 1000, 10000)
    for frame in pattern.frames_on_disk():
        assert pattern.path(frame).exists()


def test_padding_is_strict(tmp_path):
    _touch(tmp_path, "a.1.exr", "a.0002.exr")
    assert SequencePattern.parse(str(tmp_path / "a.#.exr")).frames_on_disk().frames == (1,)
    assert SequencePattern.parse(str(tmp_path / "a.%04d.exr")).frames_on_disk().frames == (2,)


def test_special_characters_are_literal(tmp_path):
    _touch(tmp_path, "a+(1).0001.exr", "a+x1y.0002.exr")
    assert SequencePattern.parse(str(tmp_path / "a+(1).####.exr")).frames_on_disk().frames == (1,)


@pytest.mark.parametrize(
    ("names", "expected", "frames"),
    [
        (["a.0001.exr", "a.0002.exr", "notes.txt", "._a.0001.exr", "Thumbs.db"], "a.####.exr", (1, 2)),
        (["a.8.exr", "a.9.exr", "a.10.exr"], "a.#.exr", (8, 9, 10)),
        (["shot-0001.png", "shot-0002.png"], "shot-####.png", (1, 2)),
        (["0001.dpx"], "####.dpx", (1,)),
    ],
)
def test_folder_with_one_sequence(tmp_path, names, expected, frames):
    pattern = SequencePattern.parse(str(_touch(tmp_path / "plate", *names)))
    assert str(pattern) == str(tmp_path / "plate" / expected)
    assert pattern.frames_on_disk().frames == frames


def test_folder_with_several_names_them(tmp_path):
    _touch(tmp_path, "a.0001.exr", "b.0001.exr", "still.png")
    with pytest.raises(InvalidInput) as caught:
        SequencePattern.parse(str(tmp_path))
    assert caught.value.reason == "SEVERAL_SEQUENCES"
    for name in ("a.####.exr", "b.####.exr", "still.png"):
        assert name in caught.value.message


def test_folder_without_images(tmp_path):
    with pytest.raises(NotFound, match="no image sequence"):
        SequencePattern.parse(str(_touch(tmp_path / "empty", "readme.md")))


def test_single_still(tmp_path):
    _touch(tmp_path, "grade.0042.tif", "logo.png", "odd#name.exr")
    numbered = SequencePattern.parse(str(tmp_path / "grade.0042.tif"))
    assert numbered.is_single
    assert numbered.frames_on_disk().frames == (42,)
    assert numbered.path(42) == tmp_path / "grade.0042.tif"
    assert SequencePattern.parse(str(tmp_path / "logo.png")).frames_on_disk().frames == (1,)
    assert SequencePattern.parse(str(tmp_path / "odd#name.exr")).is_single


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InvalidInput, "empty"),
        ("a\0.####.exr", InvalidInput, "NUL"),
        ("shots/nothing.exr", NotFound, "####"),
        ("shots/##/a.####.exr", InvalidInput, "folder name"),
        ("shots/a.####.%04d.exr", InvalidInput, "2 frame tokens"),
        ("shots/a.%V.####.exr", InvalidInput, "view"),
        ("shots/a.####.txt", InvalidInput, "file type"),
        ("shots/a.####", InvalidInput, "file type"),
        ("shots/a.%040d.exr", InvalidInput, "digits"),
    ],
)
def test_bad_patterns(text, error, words):
    with pytest.raises(error, match=words):
        SequencePattern.parse(text)


def test_folder_that_is_not_there():
    with pytest.raises(NotFound, match="does not exist"):
        SequencePattern.parse("no/such/folder/a.####.exr").frames_on_disk()


def test_text_form_parses_back(tmp_path):
    pattern = SequencePattern.parse(str(tmp_path / "a.%06d.exr"))
    assert SequencePattern.parse(str(pattern)) == pattern
