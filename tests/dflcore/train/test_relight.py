"""The HSV shift, against Python's own colorsys."""

import colorsys

import pytest
import torch

from dflcore.train.relight import HsvShift, draw_hsv_shift


def shift(hue: float, saturation: float, value: float) -> HsvShift:
    return HsvShift(*(torch.full((1, 1, 1), number) for number in (hue, saturation, value)))


@pytest.mark.parametrize(("hue", "saturation", "value"), [(0, 0, 0), (1.3, 0, 0), (-2.1, 0.1, -0.05), (0, -0.3, 0.3)])
def test_equals_colorsys(hue: float, saturation: float, value: float) -> None:
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    rgb[0, :, 0, 0] = 0.4  # a grey
    rgb[0, :, 0, 1] = 0.0
    out = shift(hue, saturation, value).apply(rgb)
    for row in range(8):
        for column in range(8):
            h, s, v = colorsys.rgb_to_hsv(*rgb[0, :, row, column].double().tolist())
            s, v = min(max(s + saturation, 0), 1), min(max(v + value, 0), 1)
            expected = colorsys.hsv_to_rgb((h + hue / 6) % 1.0, s, v)
            torch.testing.assert_close(
                out[0, :, row, column].double(), torch.tensor(expected).double(), atol=1e-5, rtol=0
            )


def test_ranges_follow_the_strength() -> None:
    drawn = draw_hsv_shift(4000, 0.3, torch.Generator().manual_seed(2))
    assert drawn.hue.shape == (4000, 1, 1)
    for numbers, limit in ((drawn.hue * 60, 54.0), (drawn.saturation, 0.15), (drawn.value, 0.15)):
        assert 0.98 * limit < numbers.abs().max() <= limit
        assert numbers.mean().abs() < 0.05 * limit


def test_every_face_has_a_shift_of_its_own() -> None:
    faces = torch.tensor([0.7, 0.4, 0.2]).view(1, 3, 1, 1).expand(3, 3, 4, 4)
    out = draw_hsv_shift(3, 0.3, torch.Generator().manual_seed(3)).apply(faces)
    assert len({tuple(face.tolist()) for face in out[:, :, 0, 0]}) == 3
    assert out.flatten(2).std(2).max() < 1e-6
