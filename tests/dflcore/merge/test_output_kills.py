"""A merge that is killed at any of its disk operations: no name ever leads to a torn file, the same call finishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.cores import cores
from dflcore.io.exr import is_valid_exr
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.merge import provenance
from dflcore.merge.pipeline import MergeResult, merge_range
from dflcore.merge.provenance import MergeIdentity, SequenceManifest, read_manifest
from dflcore.types import FaceType
from killing import kill_everywhere
from small_facesets import Watcher


class _Swapper:
    resolution, face_type, name, digest = 64, FaceType.FULL, "fake", "f00d"

    def swap(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask = torch.ones(len(target), 1, 64, 64)
        return 0.7 * target, mask, mask


def _merge(folder: Path, control: Any, **settings: Any) -> MergeResult:
    """Three files per frame."""
    converter = ColorConverter()
    with cores(1), Faceset.open(folder / "faces") as faceset:  # the process may be a fork, which has no helper threads
        return merge_range(
            open_plate(str(folder / "plate/shot.####.exr"), resolve_space=converter.find),
            _Swapper(),
            faceset,
            str(folder / "out/swap.####.exr"),
            MergeSettings(profile="flat", layers="matte", overwrite=True, **settings),
            control,
            converter=converter,
        )


def _merge_in_parts(folder: Path, control: Any) -> MergeResult:
    """As of a long sequence: the manifest has a part for each frame."""
    with mock.patch.object(provenance, "PART_FRAMES", 1):
        return _merge(folder, control)


def _prepare(make_shot: Any, tmp_path: Path, frames: tuple[int, ...]) -> Path:
    make_shot(frames=frames)
    original = tmp_path / "original"
    original.mkdir()
    for name in ("plate", "faces"):
        (tmp_path / name).rename(original / name)
    return original


def _frames(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").glob("swap*.exr")}


@pytest.mark.slow
@pytest.mark.parametrize("state", ["nothing there", "overwriting"])
@pytest.mark.parametrize(("merge", "frames"), [(_merge, (1001,)), (_merge_in_parts, (1001, 1002))])
def test_killed_anywhere_the_same_call_finishes_with_the_same_bits(make_shot, tmp_path, state, merge, frames):
    original = _prepare(make_shot, tmp_path, frames)
    old = {}
    if state == "overwriting":
        _merge(original, Watcher(), opacity=0.5)
        old = _frames(original)
    folders = kill_everywhere("test_output_kills", merge.__name__, original, Path(__file__).parent)
    wanted = _frames(folders[-1])  # of the run that nobody killed
    assert len(folders) > 10
    assert len(wanted) == 3 * len(frames)
    for folder in folders:
        for name, data in _frames(folder).items():
            assert data in (wanted[name], old.get(name))
            assert is_valid_exr(folder / "out" / name)
        result = merge(folder, Watcher())
        assert result.frames_written + result.frames_kept == len(frames)
        assert _frames(folder) == wanted
        manifest = read_manifest(folder / "out/swap.provenance.json")
        assert set(manifest.frames) == set(frames)
        assert not manifest.unfinished
        assert not list((folder / "out").rglob(".*.journal"))
        assert (folder / "out/swap.provenance").exists() == (merge is _merge_in_parts)
        assert merge(folder, Watcher()).frames_kept == len(frames)


def _add_nothing(folder: Path, control: Any) -> None:
    identity = MergeIdentity(
        plate="p", color_space="c", output_space="c", model_name="m", model_digest="d", face_type=FaceType.FULL,
        settings={}, settings_digest="s",
    )  # fmt: skip
    with mock.patch.object(provenance, "PART_FRAMES", 2):
        SequenceManifest(folder / "swap.provenance.json", identity).close()


@pytest.mark.slow
def test_killed_while_the_one_file_of_a_long_sequence_is_divided_every_frame_is_known(tmp_path):
    original = tmp_path / "original"
    original.mkdir()
    frames = {str(frame): {"key": f"k{frame}", "files": {}} for frame in range(5)}
    document = {"run_key": "r", "unfinished": {"8": "torn"}, "frames": frames, "format": 1}
    (original / "swap.provenance.json").write_text(json.dumps(document))
    lines = ({"run_key": "r"}, {"frame": 4, "key": "newer", "files": {}}, {"frame": 9, "begin": "torn"})
    (original / ".swap.provenance.1-ab.journal").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folders = kill_everywhere("test_output_kills", "_add_nothing", original, Path(__file__).parent)
    assert len(folders) > 10
    for folder in folders:
        for _ in range(2):
            known = read_manifest(folder / "swap.provenance.json")
            assert {frame: one.key for frame, one in known.frames.items()} == {
                0: "k0", 1: "k1", 2: "k2", 3: "k3", 4: "newer",
            }  # fmt: skip
            assert known.unfinished == {8: "torn", 9: "torn"}
            _add_nothing(folder, Watcher())
        parts = {path.name for path in (folder / "swap.provenance").iterdir() if ".partial-" not in path.name}
        assert parts == {"0-1.json", "2-3.json", "4-5.json", "8-9.json"}
