"""The demo's plates are what a camera department would deliver, and the same every time."""

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.color.ocio import ColorConverter
from dflcore.demo import plates
from dflcore.demo.stage import HIGHLIGHT_PEAK_LINEAR, build_source_stage, build_target_stage
from dflcore.errors import InvalidInput

FRAME_COUNT = 3


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plates")
    seen = []
    patterns = plates.shoot_plates(
        folder, frame_count=FRAME_COUNT, on_frame=lambda done, total: seen.append((done, total))
    )
    return folder, patterns, seen


def read(path):
    image = oiio.ImageBuf(str(path))
    return image.get_pixels(oiio.HALF), image.spec()


def frame_path(pattern, frame):
    return pattern.with_name(pattern.name.replace("####", str(frame)))


def test_both_plates_have_every_frame_and_progress_is_told(shot):
    folder, patterns, seen = shot
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{frame}.exr" for name in ("source", "target") for frame in range(1001, 1001 + FRAME_COUNT)
    )
    assert seen == [(done, 2 * FRAME_COUNT) for done in range(1, 2 * FRAME_COUNT + 1)]
    assert set(patterns) == {"source", "target"}


@pytest.mark.parametrize("name", ["source", "target"])
def test_header_says_what_a_camera_says(shot, name):
    pixels, spec = read(frame_path(shot[1][name], 1002))
    assert pixels.shape[:2] == (480, 640)
    assert spec.format == oiio.HALF
    assert spec.get_string_attribute("colorInteropID") == "lin_ap1_scene"
    assert spec.get_string_attribute("smpte:TimeCode") == "00:00:41:18"
    assert spec.getattribute("FramesPerSecond") == (24, 1)
    for attribute, value in plates.CUSTOM_ATTRIBUTES.items():
        assert spec.get_string_attribute(attribute) == value


def test_highlights_are_above_white_and_away_from_the_face(shot):
    for name, stage, move in (
        ("source", build_source_stage(7), plates.SOURCE_MOVE),
        ("target", build_target_stage(7), plates.TARGET_MOVE),
    ):
        pixels, _ = read(frame_path(shot[1][name], 1001))
        assert HIGHLIGHT_PEAK_LINEAR / 2 < pixels[..., :3].max() < HIGHLIGHT_PEAK_LINEAR * 1.5
        bright = stage.emission_linear.max(axis=2) > 0.3
        y, x = np.nonzero(bright)
        distance = np.hypot(
            (x - stage.face_center_px[0]) / stage.face_radius_px[0],
            (y - stage.face_center_px[1]) / stage.face_radius_px[1],
        )
        assert distance.min() > 1.5, f"{name}: a light shines into the face"
        assert move.zoom[0] > 0


def test_target_has_an_opaque_alpha(shot):
    pixels, spec = read(frame_path(shot[1]["target"], 1001))
    assert spec.channelnames == ("R", "G", "B", "A")
    assert np.all(pixels[..., 3] == 1.0)


def test_camera_and_light_move(shot):
    first, _ = read(frame_path(shot[1]["target"], 1001))
    last, _ = read(frame_path(shot[1]["target"], 1003))
    assert np.abs(first.astype(np.float32) - last.astype(np.float32)).mean() > 0.02


def test_same_seed_same_bits_and_another_seed_other_bits():
    stage = build_source_stage(7)
    converter = ColorConverter()

    def render(seed):
        return plates.render_frame(stage, plates.SOURCE_MOVE, converter, index=1, frame_count=5, seed=seed)

    np.testing.assert_array_equal(render(7), render(7))
    assert not np.array_equal(render(7), render(8))


def test_time_code_counts_in_bcd():
    assert plates.time_code(0) == (0, 0)
    assert plates.time_code(24 * 3661 + 13) == (0x01010113, 0)


def test_one_frame_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="two frames"):
        plates.shoot_plates(tmp_path, frame_count=1)
