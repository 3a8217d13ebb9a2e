"""Looks on disk: what is written reads back to the same, and what is wrong is named with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflcore.config.frame_overrides import parse_overrides
from dflcore.config.merge import OVERRIDABLE, MergeSettings
from dflcore.config.settings_file import format_settings_file, read_settings_file
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound


def test_a_written_look_reads_back_to_the_same_settings(tmp_path: Path) -> None:
    overrides = "1001-1010: opacity=0>1 mode=seamless; 1020: matte_erode=2.5"
    settings = MergeSettings(matte_erode=-3.5, color_transfer="mkl", layers='odd "name", swap', overrides=overrides)
    blocks = parse_overrides(settings.overrides, OVERRIDABLE)
    path = tmp_path / "look.toml"
    path.write_text(format_settings_file(settings.values(), MergeSettings, overrides=blocks), encoding="utf-8")
    again = MergeSettings.from_values(read_settings_file(path, MergeSettings))
    assert again.digest() != MergeSettings().digest()
    assert again == settings
    assert "# Shrink the matte" in path.read_text(encoding="utf-8")


def test_a_look_by_hand_names_only_what_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "look.toml"
    path.write_text('matte_erode = 2\n[frames."1-5"]\nopacity = 0.5\n', encoding="utf-8")
    assert read_settings_file(path, MergeSettings) == {"matte_erode": 2, "overrides": "1-5: opacity=0.5"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("matte_erode = 99", InvalidInput, "-25 to 25"),
        ("matte_errode = 1", InvalidInput, "matte_errode"),
        ("[matte]\nerode = 1", InvalidInput, "table or a list"),
        ("frames = 3", InvalidInput, "tables named by frames"),
        ('overrides = "1: opacity=1"\n[frames.2]\nopacity = 1', InvalidInput, "twice"),
        ("[frames.1]\nprofile = 'flat'", InvalidInput, "cannot differ"),
        ("[frames.1]\nopacity = 7", InvalidInput, "opacity"),
        ("matte_erode =", DataCorrupt, "cannot be read"),
        ("\0", DataCorrupt, "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, error: type[DflError], said: str) -> None:
    path = tmp_path / "look.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said) as caught:
        read_settings_file(path, MergeSettings)
    assert "look.toml" in caught.value.message


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_settings_file(tmp_path / "none.toml", MergeSettings)
    with pytest.raises(NotFound):
        read_settings_file(tmp_path, MergeSettings)


def test_settings_without_overrides_have_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("[frames.1]\nbatch_size = 4\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="differ from frame to frame"):
        read_settings_file(path, TrainSettings)
