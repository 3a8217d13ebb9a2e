"""The extension inside real Blenders without a window, against a real daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import DaemonProcess

from dflcore.io.masks import MaskStore
from dflhost import messages, words

pytestmark = pytest.mark.slow
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def facts(shot: Any, merging_daemon: DaemonProcess, tmp_path: Path) -> dict[str, Any]:
    return {
        "state": merging_daemon.folder / "state",
        "plate": shot.plate,
        "model": shot.model,
        "faces": shot.faceset,
        "output": tmp_path / "out",
    }


def test_nothing_is_left_behind_when_it_is_disabled(run_in_bpy: Run) -> None:
    said = run_in_bpy("register_twice")
    assert said["is_clean"]
    assert said["modules"] == []
    assert {"DFL_OT_swap_range", "DFL_OT_update", "DFL_PT_sequencer", "DFL_PT_compositor", "DFL_PT_image"} <= set(
        said["new"]
    )


def test_the_tab_asks_in_the_order_of_all_hosts(run_in_bpy: Run) -> None:
    drawn = run_in_bpy("order")["drawn"]
    assert [word for word in drawn if word in words.FIELDS] == list(words.FIELDS)
    extract = [f"{messages.EXTRACT}: {label}" for label in (words.SOURCE, words.TARGET)]
    buttons = [*extract, messages.TRAIN, *words.BUTTONS]
    assert drawn[-len(buttons) :] == buttons


def test_blenders_own_validator_takes_the_zip(run_in_bpy: Run, builder: ModuleType, tmp_path: Path) -> None:
    said = run_in_bpy("validate", zip=builder.build_zip(tmp_path, tmp_path / "scratch"))
    assert said["code"] == 0, said["said"]


def test_preferences_lead_to_the_daemon_once_it_is_installed(
    run_in_bpy: Run, builder: ModuleType, tmp_path: Path
) -> None:
    said = run_in_bpy("preferences", zip=builder.build_zip(tmp_path, tmp_path / "scratch"))
    assert said["empty"] == ["", ""]
    assert said["mapped"] == "/mnt/shots/010/a.exr"
    assert "stay offline" in said["refused"]
    assert said["bad_map"] == "BAD_PATH_MAP"
    assert said["of_studio"] == ["farm:50051", "/mnt/shots/a.exr", "/studio/ca.pem"]
    assert said["of_both"] == ["render7:50051", "/mnt/shots/a.exr", "/mine/ca.pem"]
    assert said["is_gone"] == [True, False]


def test_the_compositor_rebuilds_the_beauty_from_the_layers(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    said = run_in_bpy("merge_nodes", **facts)
    assert said["outcome"] == "SUCCEEDED"
    assert said["outputs"][:2] == ["Image", "Merged"]
    assert {"Matte", "Matte Hull", "Matte Learned Source", "Swap", "Raw", "St"} <= set(said["outputs"])
    assert said["difference"] < 0.01
    assert said["change"] > 0.05
    assert said["matte"][0] == pytest.approx(0.0, abs=1e-3)
    assert 0.05 < said["matte"][1] <= 1.0
    assert said["nobody"] == pytest.approx(0.0, abs=1e-4)
    assert said["brightest"] > 2.0
    assert said["labels"][0].endswith("v001 1001-1004")
    assert said["labels"][1] == said["labels"][2]
    assert "v002" in said["labels"][1]
    assert "/v002/" in said["file"]
    assert said["is_reused"]


def test_the_sequencer_gets_the_result_above_its_plate(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    said = run_in_bpy("merge_strip", **facts)
    assert said["told"] == ""
    result, matte = said["strips"]["Take_1_swap v001 1001-1004"], said["strips"]["Take_1_swap v001 1001-1004 matte"]
    assert (result["channel"], result["range"], result["muted"]) == (2, [11, 14], False)
    assert (result["blend"], result["alpha"], result["offset"]) == ("ALPHA_OVER", "PREMUL", 20)
    assert result["files"] == [f"Take_1_swap.{number}.exr" for number in range(1001, 1005)]
    assert (matte["channel"], matte["muted"]) == (3, True)
    assert said["after"] == sorted(said["strips"])
    fresh, other_settings, fresh_again, other_plate = said["stale"]
    assert fresh == fresh_again == ""
    assert other_settings
    assert other_plate
    assert other_plate != other_settings
    assert said["frame"]["size"] == [400, 300]
    assert said["frame"]["packed"]
    assert said["frame"]["brightest"] > 2.0
    assert "v001" in said["text"]
    assert said["grown"] == [[1, 11, 11], [2, 11, 12], [4, 11, 14]]


def test_what_is_wrong_is_told_in_a_sentence(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    told = run_in_bpy("troubles", **facts)["told"]
    for name, text in told.items():
        assert text, name
        assert "Traceback" not in text, name
        assert "Error:" not in text, name
    assert "Choose a model" in told["no model"]
    assert "Save this file first" in told["not saved"]
    assert "holds no face of this plate" in told["reversed strip"]  # it was rendered, its faces were never looked for
    assert "1001-1004" in told["outside the clip"]
    assert "may not write" in told["read-only folder"] or "be read or written" in told["read-only folder"]
    assert "The face swap daemon is not running." in told["no daemon"]


def test_another_blender_finds_the_job_of_a_file_and_gets_its_result(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    assert run_in_bpy("reattach", **facts, stage="close")["stored"]
    said = run_in_bpy("reattach", **facts, stage="open")
    assert said["is_found"]
    assert "Take_1_swap v001 1001-1004" in said["strips"]
    assert said["job"] == ""


def test_settings_of_the_daemon_are_properties_that_the_file_keeps(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    said = run_in_bpy("knobs", **facts)
    assert said["untouched"] == {}
    assert said["sent"] == {"mode": "seamless", "from_the_future": 4}
    assert said["again"] == said["sent"]
    assert said["count"] == said["specs"]
    assert "overlay" in said["tip"]


def test_a_drawn_mask_becomes_the_faces_label(run_in_bpy: Run, facts: dict[str, Any], shot: Any) -> None:
    face = sorted(shot.faceset.glob("*.png"))[0]
    said = run_in_bpy("labels", **facts, face=face)
    assert (said["told"], said["outcome"]) == ("", "SUCCEEDED")
    side = said["size"][0]
    with MaskStore.open(shot.faceset) as masks:
        label = masks.label(face.name) or masks.label(face.stem)
    assert [polygon.include for polygon in label.polygons] == [True, False]
    assert label.polygons[0].points[0] == pytest.approx((0.1 * side, 0.9 * side), abs=0.01)


def test_training_shows_its_preview_and_leaves_the_model_chosen(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    dims = {"ae_dims": "32", "e_dims": "16", "d_dims": "16", "d_mask_dims": "16"}
    settings = {"preset": "df", "resolution": "64", "batch_size": "2", "iterations": "4", **dims}
    said = run_in_bpy("train", **facts, settings=settings)
    assert (said["told"], said["outcome"]) == ("", "SUCCEEDED")
    assert Path(said["model"]).is_dir()
    assert said["preview"]


def test_what_is_before_the_artist_becomes_a_plate(run_in_bpy: Run, facts: dict[str, Any]) -> None:
    said = run_in_bpy("choices", **facts)
    assert {choice["path"] for choice in said.values()} == {facts["plate"]}
    frames = {name: (choice["frames"], choice["start"]) for name, choice in said.items()}
    assert frames["whole"] == ("1001-1004", 11)
    assert frames["trimmed"] == ("1002-1003", 12)
    assert frames["still"][0] == "1001"
    assert frames["clip"] == ("1001-1004", 1)
    assert frames["node"] == ("1001-1003", 1)
    assert said["node"]["place"] == "nodes"
    assert frames["cut"][0].startswith("1002")
