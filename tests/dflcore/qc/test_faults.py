"""Deliberate faults are flagged for what they are, sound frames are not, and broken files are one sentence each."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.config.qc import QcSettings
from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.plate import Window
from dflcore.qc.review import Shot, measure_shot, review_shot
from small_facesets import Watcher

FEW = (1001, 1002, 1003)


def flags_of(report):
    """Measure → frames."""
    found: dict[str, set[int]] = {}
    for frame in report.figures:
        for flag in frame.flags:
            found.setdefault(flag.measure, set()).add(frame.frame)
    return found


def _mean(light, matte):
    return (light * matte[..., None]).sum(axis=(0, 1)) / matte.sum()


def noise(frame, light, matte):
    return _mean(light, matte) * np.random.default_rng(frame).uniform(0.5, 1.5, light.shape).astype(np.float32)


def flat(frame, light, matte):
    return np.broadcast_to(_mean(light, matte), light.shape)


def negative(frame, light, matte):
    return np.maximum(np.float32(0.6) - light, 0.0)


@pytest.mark.parametrize(("change", "wanted"), [(noise, "grain"), (flat, "sharpness"), (negative, "similarity")])
def test_what_is_no_face_at_all(make_shot, change, wanted):
    """What a model paints that has diverged, or was loaded wrongly."""
    found = flags_of(make_shot(frames=FEW, grain=0.03, change=change).measure())
    assert found[wanted] == {*FEW}
    assert "outside_px" not in found


def hard_edged(frame, own):
    return (own > 0).astype(np.float32)


def tinted(*gains):
    return lambda frame, light, matte: light * np.array(gains, np.float32)


def grey(frame, light, matte):
    return light * np.float32(0.4) + np.float32(0.6) * light.mean(axis=2, keepdims=True)


@pytest.mark.parametrize("change", [tinted(0.8, 1.15, 0.8), tinted(0.75, 0.75, 0.75), tinted(1.0, 0.8, 0.75), grey])
def test_a_face_of_the_wrong_colour(make_shot, change):
    shot = make_shot(frames=FEW, change=change)
    assert flags_of(shot.measure()) == {"color": {*FEW}}


def test_a_face_a_little_off_may_pass(make_shot):
    """Five per cent of one channel's light is what a look may want."""
    assert flags_of(make_shot(frames=FEW, change=tinted(1.05, 1.0, 0.98)).measure()) == {}


@pytest.mark.parametrize("shift", [(6, 0), (0, 5), (-6, 0), (4, -4)])
def test_a_face_put_back_beside_its_place(make_shot, shift):
    """Five pixels of a face of 90, whose eyes are 62 apart."""
    shot = make_shot(frames=FEW, change=lambda frame, light, matte: np.roll(light, shift, axis=(1, 0)))
    found = flags_of(shot.measure())
    assert found["offset"] == {*FEW}
    assert not {"color", "flicker", "seam", "sharpness", "outside_px"} & set(found)


def test_one_frame_beside_its_place(make_shot):
    def slip(frame, light, matte):
        return np.roll(light, 6, axis=1) if frame == 1005 else light

    report = make_shot(change=slip).measure()
    found = flags_of(report)
    assert found["offset"] == {1005}
    assert found["jitter"] == {1005}
    assert set().union(*found.values()) == {1005}
    assert report.look_first == [1005]


@pytest.mark.parametrize("gain", [0.02, 0.04])
def test_a_gain_of_its_own_in_every_frame(make_shot, gain):
    gains = np.random.default_rng(2).choice([-1.0, 1.0], 9) * gain

    def flicker(frame, light, matte):
        return light * np.float32(1.0 + gains[frame - 1001])

    found = flags_of(make_shot(change=flicker).measure())
    assert set(found) == {"flicker"}
    jumps = {1001 + index for index in range(1, 9) if gains[index] != gains[index - 1]}
    assert found["flicker"] <= jumps | {frame - 1 for frame in jumps}
    assert len(found["flicker"]) >= len(jumps) / 2


def test_a_gain_of_the_plate_itself_is_nobodys_fault(make_shot):
    """A candle: plate and result go up and down together, whatever face is put on."""

    def candle(frame, merged, matte):
        return merged * np.float16(1.0 + 0.25 * (frame % 2))

    shot = make_shot(change=tinted(0.98, 1.0, 1.0), after=candle)
    for frame in shot.frames:
        _scale(Path(shot.plate.replace("####", str(frame))), np.float16(1.0 + 0.25 * (frame % 2)))
    assert flags_of(shot.measure()) == {}


def _scale(path, gain):
    from dflcore.io.exr import read_exr_layers

    layers = read_exr_layers(path)
    pixels = np.stack([layers[name] * gain for name in "RGB"], axis=2)
    _write(path, pixels)


def _write(path, pixels, matte=None):
    height, width = pixels.shape[:2]
    window = Window(x=0, y=0, width=width, height=height)
    names = tuple("RGBA"[: pixels.shape[2]])
    layers = [ExrLayer(name="", channels=names, pixels=pixels)]
    if matte is not None:
        layers.append(ExrLayer(name="matte", channels=("A",), pixels=matte[..., None]))
    write_exr(path, layers=layers, data_window=window, display_window=window, color_space="ACEScg")


def test_another_face_pasted_with_a_hard_edge(make_shot, hopper, converter):
    """Somebody else's portrait, cut out and laid on: its edge is the first thing one sees."""
    light = converter.convert(hopper.astype(np.float32) / 255.0, "srgb_tx", "ACEScg")
    pasted = cv2.resize(light[60:300, 100:420], (320, 240), interpolation=cv2.INTER_AREA)
    shot = make_shot(frames=FEW, change=lambda frame, own, matte: pasted, matte=hard_edged)
    assert flags_of(shot.measure())["seam"] == {*FEW}


@pytest.mark.parametrize(("gain", "is_seen"), [(0.75, True), (1.3, True), (0.95, False)])
def test_a_hard_edge_is_a_seam_where_light_differs_by_a_quarter(make_shot, gain, is_seen):
    shot = make_shot(frames=FEW, change=tinted(gain, gain, gain), matte=hard_edged)
    assert ("seam" in flags_of(shot.measure())) == is_seen


def test_light_from_the_other_side_under_a_hard_edge(make_shot):
    ramp = np.linspace(0.0, 2.2, 320, dtype=np.float32)[None, :, None]
    shot = make_shot(frames=FEW, change=lambda frame, light, matte: light * ramp, matte=hard_edged)
    found = flags_of(shot.measure())
    assert found["seam"] == {*FEW}
    soft = make_shot(frames=FEW, change=lambda frame, light, matte: light * ramp, name="soft")
    assert "seam" not in flags_of(soft.measure())


@pytest.mark.parametrize("matte", [hard_edged, lambda frame, own: np.ones_like(own), None])
@pytest.mark.parametrize("grain", [0.0, 0.06])
def test_an_untouched_plate_is_never_flagged(make_shot, matte, grain):
    """Whatever the matte: a result that is its plate has no fault."""
    report = make_shot(frames=(*range(1001, 1010),), matte=matte, grain=grain).measure()
    assert flags_of(report) == {}
    assert report.flagged_frames == 0


def test_a_plate_is_no_result(make_shot):
    """Without a matte nobody can tell what was changed; the error says what to merge."""
    shot = make_shot(frames=FEW)
    plain = Shot(result=shot.plate, plate=shot.plate, target=shot.faceset)
    with pytest.raises(InvalidInput, match="has no matte"):
        measure_shot(plain, QcSettings(), Watcher(), converter=shot.converter, examiner=shot.examiner)


def _spoil_size(path, whole):
    _write(path, np.zeros((100, 90, 4), np.float16), np.zeros((100, 90), np.float16))


def _spoil_matte(path, whole):
    _write(path, np.zeros((240, 320, 4), np.float16))


def _spoil_end(path, whole):
    path.write_bytes(whole[: len(whole) // 2])


def _spoil_head(path, whole):
    path.write_bytes(whole[:30])


def _spoil_all(path, whole):
    path.write_bytes(np.random.default_rng(1).bytes(len(whole)))


def _empty(path, whole):
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_spoil_size, _spoil_matte, _spoil_end, _spoil_head, _spoil_all, _empty])
@pytest.mark.parametrize("frame", [1001, 1002])
def test_a_broken_result_frame_is_flagged_and_the_others_are_measured(make_shot, tmp_path, spoil, frame):
    shot = make_shot(frames=FEW)
    path = Path(shot.result.replace("####", str(frame)))
    spoil(path, path.read_bytes())
    report = shot.measure()
    assert flags_of(report) == {"unreadable": {frame}}
    (note,) = [one.note for one in report.figures if one.note]
    assert note.count("\n") == 0
    assert len(note) < 400
    assert all(one.faces for one in report.figures if one.frame != frame)
    result = review_shot(
        shot.shot(), tmp_path / "r", QcSettings(), Watcher(), converter=shot.converter, examiner=shot.examiner
    )
    assert (result.flagged_frames, result.error_frames) == (1, 1)


def test_broken_plate_frames_are_flagged_too(make_shot):
    shot = make_shot(frames=FEW)
    path = Path(shot.plate.replace("####", "1002"))
    path.write_bytes(path.read_bytes()[:1000])
    report = shot.measure()
    assert flags_of(report) == {"unreadable": {1002}}
    assert "plate" in next(one.note for one in report.figures if one.note)


def test_a_plate_frame_that_is_gone_is_told_and_not_judged(make_shot):
    shot = make_shot(frames=FEW)
    Path(shot.plate.replace("####", "1002")).unlink()
    report = shot.measure()
    assert flags_of(report) == {}
    assert [one.frame for one in report.figures] == [1001, 1003]
    assert any("1002" in note for note in report.notes)


def test_a_result_of_another_size_throughout(make_shot):
    """The plate of another shot: nothing is measured, and it is told once per frame what covers what."""
    shot = make_shot(frames=FEW)
    for frame in FEW:
        _spoil_size(Path(shot.result.replace("####", str(frame))), b"")
    report = shot.measure()
    assert flags_of(report) == {"unreadable": {*FEW}}
    assert all("90x100 px at 0, 0, its plate 320x240 px" in one.note for one in report.figures)


@pytest.mark.parametrize("gone", ["plate", "faces", "out", "source"])
def test_what_is_not_there_is_one_sentence(make_shot, gone):
    shot = make_shot(frames=FEW)
    shot.source = shot.folder / "source"
    if gone != "source":
        (shot.folder / gone).rename(shot.folder / "elsewhere")
        shot.source = None
    with pytest.raises(NotFound) as caught:
        shot.measure()
    assert isinstance(caught.value, DflError)
    assert gone in caught.value.message
    assert "\n" not in caught.value.message
