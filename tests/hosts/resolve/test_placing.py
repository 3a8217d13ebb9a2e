"""Results in the project: added, read back, and refused in a sentence where Resolve did nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from comp_reader import read_comp

from dflhost.errors import HostError
from dflhost.plates import FrameSet, frame_path
from dflhost.results import Result
from dflresolve import comp_text, place
from dflresolve.clips import under_playhead
from dflresolve.host import Host
from dflresolve.selftest import write_result


def result_in(world, count: int = 8, version: int = 1) -> Result:
    folder = world.folder / "swap" / f"v{version:03d}"
    patterns = {}
    for name in ("", "_patch", "_matte"):
        patterns[name] = str(folder / f"plate_swap{name}.####.exr")
        folder.mkdir(parents=True, exist_ok=True)
        for frame in range(1011, 1011 + count):
            Path(frame_path(patterns[name], frame)).write_bytes(b"exr")
    siblings = {"patch": patterns["_patch"], "matte": patterns["_matte"]}
    return Result(patterns[""], FrameSet.span(1011, 1010 + count), version, siblings, "ACEScg")


def put(world, to, result=None, **given):
    host = Host(world.resolve)
    return place.place_result(host, under_playhead(host)[0], result or result_in(world), to, **given)


def bins(world):
    root = world.project._pool._root
    return {folder._name: [inner._name for inner in folder._folders] for folder in root._folders}


# Take


def test_a_take_is_added_and_selected_and_the_original_stays(world):
    placed = put(world, place.TAKE)
    assert world.item._take == 2
    original, swap = world.item._takes
    assert original[0] is world.media
    assert swap[1:] == (0, 7)
    assert swap[0]._about["Input Color Space"] == "ACEScg"
    assert placed.text == "Take 2 of plate.[1001-1048].exr: plate_swap v001 1011-1018"
    assert placed.notes == []


def test_imports_go_to_a_bin_of_their_own_and_the_artists_bin_stays_open(world):
    before = world.project._pool._current
    put(world, place.TAKE)
    put(world, place.TAKE, result_in(world, version=2))
    assert bins(world) == {"Face Swap": ["Reel 1"]}
    assert world.project._pool._current is before
    assert len(world.item._takes) == 3


def test_a_single_frame_is_imported_as_a_file(world):
    world.item._count = world.item._span = 1
    put(world, place.TAKE, result_in(world, 1))
    assert world.item._takes[1][1:] == (0, 0)


def test_a_version_that_counts_a_takes_frames_otherwise(world):
    world.traps.add("take of a range")
    put(world, place.TAKE)
    assert world.item._take == 2


def test_a_take_of_part_of_the_clip_lies_on_a_track_above(world):
    placed = put(world, place.TAKE, result_in(world, 5), offset=2)
    assert "needs all 8 frames of the clip, and the result has 5" in placed.notes[-1]
    (made,) = world.project._timeline._tracks[1]["items"]
    assert (made._start, made._count, world.item._takes) == (86402, 5, [])


def test_a_retimed_clip_gets_no_take(world):
    world.item._span = 16
    assert "retimed twice" in put(world, place.TAKE).notes[-1]


def test_a_color_space_that_resolve_does_not_take_is_told(world):
    world.traps.add("property lost")
    assert "input color space" in put(world, place.TAKE).notes[0]


def test_a_rendered_plate_is_never_a_take(world):
    placed = put(world, place.TAKE, is_graded=True)
    assert world.item._takes == []
    assert "graded twice" in placed.notes[-1]
    assert len(world.project._timeline._tracks[1]["items"]) == 1


# Track above


def test_the_patch_lies_over_its_clip_with_its_transforms(world):
    world.item._properties["ZoomX"] = 1.5
    put(world, place.TRACK)
    track = world.project._timeline._tracks[1]
    (made,) = track["items"]
    assert track["name"] == "Face Swap"
    assert (made._start, made._count) == (86400, 8)
    assert made._media._about["Alpha mode"] == "Premultiplied"
    assert made._media._about["File Path"].endswith("plate_swap_patch.1011.exr")
    assert made._properties["ZoomX"] == 1.5


def test_a_rendered_plate_has_the_transforms_already(world):
    world.item._properties["ZoomX"] = 1.5
    put(world, place.TRACK, is_graded=True)
    assert world.project._timeline._tracks[1]["items"][0]._properties["ZoomX"] == 1.0


def test_a_second_result_goes_to_a_track_above_since_appending_never_overwrites(world):
    put(world, place.TRACK)
    put(world, place.TRACK, result_in(world, version=2))
    assert [len(track["items"]) for track in world.project._timeline._tracks] == [1, 1, 1]


def test_our_track_is_used_again_where_it_is_free(world):
    put(world, place.TRACK)
    world.item._start += 100
    put(world, place.TRACK)
    assert [len(track["items"]) for track in world.project._timeline._tracks] == [1, 2]


def test_properties_that_do_not_stick_are_told(world):
    world.item._properties["ZoomX"] = 1.5
    world.traps.add("property lost")
    notes = " ".join(put(world, place.TRACK).notes)
    assert "alpha mode" in notes
    assert "transforms" in notes


@pytest.mark.parametrize(
    ("trap", "to", "sentence"),
    [
        ("import lost", place.TAKE, "did not get into the media pool"),
        ("import short", place.TAKE, "took 7 frames of the result's 8"),
        ("take lost", place.TAKE, "was not added"),
        ("append lost", place.TRACK, "did not get onto video track 2"),
        ("no track", place.TRACK, "track for the result was not added"),
        ("no comps", place.FUSION, "cannot be imported"),
        ("comp cut", place.FUSION, "came in empty"),
        ("matte lost", place.MATTE, "matte was not added"),
    ],
)
def test_what_resolve_loses_without_a_word_is_found_out(world, trap, to, sentence):
    world.traps.add(trap)
    before = world.project._pool._current
    with pytest.raises(HostError, match=sentence) as caught:
        put(world, to)
    assert caught.value.reason == "RESOLVE_REFUSED"
    assert world.project._pool._current is before


# Fusion


def test_the_composition_is_on_the_clip_and_older_ones_stay(world):
    put(world, place.FUSION)
    put(world, place.FUSION, result_in(world, version=2))
    assert sorted(world.item._comps) == ["Face Swap v001", "Face Swap v002"]
    assert world.item._shown == "Face Swap v002"


def test_the_same_version_again_replaces_its_composition(world):
    result = result_in(world)
    put(world, place.FUSION, result)
    put(world, place.FUSION, result)
    assert list(world.item._comps) == ["Face Swap v001"]


def test_an_empty_composition_is_taken_away_again(world):
    world.traps.add("comp cut")
    with pytest.raises(HostError):
        put(world, place.FUSION)
    assert world.item._comps == {}


def test_the_composition_reads_back_as_meant(world):
    result = result_in(world, 5)
    comp = read_comp(comp_text.face_over_clip(result, 8))
    tools = comp["Tools"]
    assert comp.kind == "Composition"
    assert [tool.kind for tool in tools.values()] == ["MediaIn", "Loader", "Loader", "Merge", "MediaOut"]
    merge = tools["FaceSwapMerge"]["Inputs"]
    assert merge["Background"]["SourceOp"] == "MediaIn1"
    assert merge["Foreground"]["SourceOp"] == "FaceSwapPatch"
    assert "EffectMask" not in merge  # the patch is premultiplied: the matte would count twice
    assert tools["MediaOut1"]["Inputs"]["Input"]["SourceOp"] == "FaceSwapMerge"
    clip = tools["FaceSwapPatch"]["Clips"][1]
    assert clip["Filename"] == frame_path(result.siblings["patch"], 1011)
    assert (clip["StartFrame"], clip["Length"], clip["TrimOut"]) == (1011, 5, 4)
    assert tools["FaceSwapPatch"]["Inputs"]["Clip1.OpenEXRFormat.AlphaName"]["Value"][1] == "A"
    assert dict(comp["GlobalRange"]) == {1: 0, 2: 7}
    later = read_comp(comp_text.face_over_clip(result, 8, 2))["Tools"]["FaceSwapPatch"]
    assert (later["Clips"][1]["GlobalStart"], later["Inputs"]["GlobalIn"]["Value"]) == (2, 2)


def test_a_face_that_came_over_the_network_is_premultiplied_by_its_loader(world):
    result = result_in(world)
    far = Result(
        result.pattern, result.frames, 1, {"face": result.siblings["patch"], "matte": result.siblings["matte"]}
    )
    tools = read_comp(comp_text.face_over_clip(far, 8))["Tools"]
    assert tools["FaceSwapPatch"]["Inputs"]["PostMultiplyByAlpha"]["Value"] == 1
    near = read_comp(comp_text.face_over_clip(result, 8))["Tools"]
    assert "PostMultiplyByAlpha" not in near["FaceSwapPatch"]["Inputs"]


def test_the_face_alone_is_left_to_be_pasted(world):
    result = result_in(world)
    setting = read_comp(comp_text.face_alone(result, 8))
    assert list(setting["Tools"]) == ["FaceSwapPatch", "FaceSwapMatte", "FaceSwapMerge"]
    assert "Background" not in setting["Tools"]["FaceSwapMerge"]["Inputs"]
    assert setting["ActiveTool"] == "FaceSwapMerge"


@pytest.mark.parametrize("text", [r"C:\shots\new\a.exr", 'a "b" c', "line\nbreak", "größe"])
def test_texts_survive(text):
    assert read_comp("X { " + comp_text.quoted(text) + " }")[1] == text


def test_a_result_without_patch_is_refused(world):
    result = result_in(world)
    bare = Result(result.pattern, result.frames, 1)
    for to in (place.FUSION, place.TRACK):
        with pytest.raises(HostError, match="no patch"):
            put(world, to, bare)


# Colour page, and clips that changed


def test_the_matte_is_an_external_matte_of_the_source(world):
    put(world, place.MATTE)
    assert world.media._mattes[0].endswith("plate_swap_matte.1011.exr")


def test_a_clip_that_was_moved_meanwhile(world):
    host = Host(world.resolve)
    clip = under_playhead(host)[0]
    world.item._start += 5
    with pytest.raises(HostError, match="moved or trimmed"):
        place.place_result(host, clip, result_in(world), place.TAKE)
    world.project._timeline._tracks[0]["items"].clear()
    with pytest.raises(HostError, match="no longer in this timeline"):
        place.place_result(host, clip, result_in(world), place.TAKE)


def test_a_result_with_gaps(world):
    result = result_in(world)
    holey = Result(result.pattern, FrameSet.of([1011, 1013]), 1, result.siblings)
    with pytest.raises(HostError, match="has gaps"):
        put(world, place.TAKE, holey)


def test_a_composition_that_cannot_be_written(world):
    result = result_in(world)
    shutil.rmtree(Path(result.pattern).parent)
    with pytest.raises(HostError, match="cannot be written") as caught:
        put(world, place.FUSION, result)
    assert caught.value.reason == "NOT_WRITABLE"


def test_the_self_tests_pictures_are_pictures(tmp_path):
    result = write_result(str(tmp_path))
    data = Path(frame_path(result.siblings["patch"], 1001)).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 24
