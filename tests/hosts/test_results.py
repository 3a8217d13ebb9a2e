"""Results: versions on disk, manifests, stale marks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dflhost.plates import FrameSet, Plate
from dflhost.results import (
    ResultKey,
    missing_frames,
    output_pattern,
    read_manifest,
    read_result,
    settings_digest,
    version_of,
    versions,
)


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    """Two versions on disk, the second flat."""
    pattern = output_pattern(str(tmp_path), "shot 010/é")
    for version, numbers, names in ((1, (1, 2, 3), ("",)), (12, (1, 2), ("", "_matte", "_matte_hull", "_patch"))):
        folder = Path(pattern.replace("{version}", f"v{version:03d}")).parent
        folder.mkdir(parents=True)
        for number in numbers:
            for name in names:
                (folder / f"shot_010_swap{name}.{number:04d}.exr").touch()
        manifest = {
            "run_key": "r",
            "output_space": "ACEScg",
            "model": {"name": "anna", "digest": "d"},
            "settings": {"profile": "flat"},
            "frames": {str(number): {"key": f"k{number}", "files": {}} for number in numbers},
        }
        (folder / "shot_010_swap.provenance.json").write_text(json.dumps(manifest))
    (Path(pattern).parents[1] / "v002").mkdir()
    return pattern


def test_versions_are_found_newest_first(pattern: str) -> None:
    newest, oldest = versions(pattern)
    assert (newest.version, str(newest.frames), newest.color_space) == (12, "1-2", "ACEScg")
    assert newest.label == "shot_010_swap v012 1-2"
    assert set(newest.siblings) == {"matte", "matte_hull", "patch"}
    assert newest.siblings["patch"].endswith("/v012/shot_010_swap_patch.####.exr")
    assert (oldest.version, oldest.siblings) == (1, {})
    assert missing_frames(oldest, range(1, 6)) == FrameSet((4, 5))
    assert versions("/nowhere/{version}/x.####.exr") == versions("/nowhere/x.####.exr") == []


def test_a_manifest_is_read_or_is_none(pattern: str) -> None:
    manifest = read_manifest(pattern.replace("{version}", "v001"))
    assert manifest is not None
    assert (manifest.frames[3], manifest.model, manifest.run_key) == ("k3", "anna", "r")
    path = Path(manifest.path)
    for damaged in ("{", "[]", json.dumps({"frames": 3})):
        path.write_text(damaged)
        assert read_manifest(pattern.replace("{version}", "v001")) is None
    assert read_result(pattern.replace("{version}", "v001")).color_space == ""


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/a/v003/b.####.exr", 3),
        ("/a_v001/v012/x.exr", 12),
        ("/a/v1/x.exr", 0),
        ("/a/xv003y/x.exr", 0),
        ("/a/b.exr", 0),
    ],
)
def test_version_numbers(path: str, number: int) -> None:
    assert version_of(path) == number


def test_names_that_hosts_stumble_over_are_cleaned() -> None:
    assert output_pattern("/out/", "a b/ç:d") == "/out/a_b_d_swap/{version}/a_b_d_swap.####.exr"
    assert output_pattern(r"P:\out", "x", 3) == r"P:\out\x_swap\{version}\x_swap.###.exr"
    assert "shot_swap" in output_pattern("/out", "顔")


def key(**changes: object) -> ResultKey:
    values: dict[str, object] = {
        "plate_path": "/p",
        "frames": {1: "a", 2: "b", 3: "c"},
        "model_digest": "m",
        "settings_digest": "s",
        "software": "1",
    }
    return ResultKey(**{**values, **changes})  # type: ignore[arg-type]


def test_what_must_be_made_again() -> None:
    here = FrameSet((1, 2, 3))
    assert not key().compare(key(), here).is_stale
    assert key().compare(key(), here).reason == ""
    for change in ({"model_digest": "n"}, {"settings_digest": "t"}, {"plate_path": "/q"}, {"software": "2"}):
        report = key().compare(key(**change), here)
        assert (report.changed, report.missing.frames, report.is_stale) == (here, (), True)
        assert report.reason.endswith(".")
    assert not key(model_digest="").compare(key(), here).is_stale
    report = key().compare(key(frames={2: "B", 3: "c", 4: "d"}), here)
    assert (report.changed, report.missing, report.frames) == (FrameSet((2,)), FrameSet((4,)), FrameSet((2, 4)))
    assert key().compare(key(), FrameSet((1,))).reason == "2 frames not made yet."


def test_a_key_is_kept_in_the_scene() -> None:
    assert ResultKey.from_text(key().to_text()) == key()
    assert "\n" not in key().to_text()
    for text in ("", "{}", "[1]", '{"format": 99}', key().to_text().replace('"format":1', '"format":2')):
        assert ResultKey.from_text(text) is None


def test_settings_that_decide_what_is_written(tmp_path: Path) -> None:
    assert settings_digest({"a": 1, "b": 2.5}) == settings_digest(
        {"b": 2.5, "a": 1, "device": "cpu", "overwrite": True}
    )
    assert settings_digest({"a": 1}) != settings_digest({"a": 2})
    assert settings_digest({"profile": "flat"}) != settings_digest({})
    (tmp_path / "p.0001.exr").touch()
    made = ResultKey.of(Plate(str(tmp_path / "p.####.exr")), "m", {"a": 1}, "1")
    assert made.frames.keys() == {1}
