"""Where the maps lead, measured in plate pixels with an ST map operator of our own that knows only the convention."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dflcore.errors import Internal
from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.plate import Window
from dflcore.merge.face import put_back
from dflcore.merge.st_inverse import map_of_square, map_over_plate

SIDE = 96
LIMIT_PX = 0.05
FRAME = Window(x=0, y=0, width=320, height=180)
SHIFTED = Window(x=7, y=-3, width=320, height=180)
OVERSCAN = Window(x=-20, y=-15, width=380, height=210)
AUTOCROP = Window(x=60, y=20, width=200, height=140)


def square_at(x, y, side_px, degrees, pixel_aspect=1.0):
    """``aligned_from_plate`` of a turned square around a point of the plate; ``side_px`` is its height there."""
    radians = np.deg2rad(degrees)
    scale = SIDE / side_px
    turn = scale * np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    middle = SIDE / 2 - turn @ np.array([x * pixel_aspect, y])
    return affine.compose(np.column_stack([turn, middle]), np.diag([pixel_aspect, 1.0, 1.0])[:2])


def painted(aligned_from_plate, data_window):
    """A face's layers as merging puts them into a plate."""
    plane = np.ones((SIDE, SIDE), np.float32)
    color = np.ones((SIDE, SIDE, 3), np.float32)
    layers = put_back(data_window, aligned_from_plate, colors=(color, None), masks=(plane,) * 4)
    return replace(layers, aligned_from_plate=aligned_from_plate, size=SIDE)


def coordinates(window):
    """(h, w, 2): every pixel holds the plate point of its own centre."""
    rows, columns = np.mgrid[: window.height, : window.width]
    return np.stack([columns + window.x + 0.5, rows + window.y + 0.5], axis=2)


def st_map_node(source, format_window, data_window, st):
    """What a host's STMap does: s and t are fractions of the source's format, t up; bilinear between pixel centres.

    Args:
        source: (H, W, C) over ``data_window``. st: (h, w, 2).
    """
    x = format_window.x + st[..., 0].astype(np.float64) * format_window.width - data_window.x - 0.5
    y = format_window.y + (1.0 - st[..., 1].astype(np.float64)) * format_window.height - data_window.y - 0.5
    x, y = np.clip(x, 0, source.shape[1] - 1), np.clip(y, 0, source.shape[0] - 1)
    left, top = np.minimum(x.astype(int), source.shape[1] - 2), np.minimum(y.astype(int), source.shape[0] - 2)
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper = source[top, left] * (1 - u) + source[top, left + 1] * u
    return upper * (1 - v) + (source[top + 1, left] * (1 - u) + source[top + 1, left + 1] * u) * v


def over(face, window):
    """The face's st and where its square is, over a whole window."""
    st = np.zeros((window.height, window.width, 2), np.float32)
    top, left = face.window.y - window.y, face.window.x - window.x
    st[top : top + face.window.height, left : left + face.window.width] = face.st.transpose(1, 2, 0)
    return st, st.any(axis=2)


SQUARE = Window(x=0, y=0, width=SIDE, height=SIDE)
PLATES = [(FRAME, FRAME, 1.0), (SHIFTED, OVERSCAN, 1.0), (FRAME, AUTOCROP, 1.0), (SHIFTED, OVERSCAN, 2.0)]


@pytest.mark.parametrize(("display", "data", "pixel_aspect"), PLATES)
@pytest.mark.parametrize(("side_px", "degrees"), [(90.0, 12.0), (60.0, -35.0), (SIDE, 0.0)])
def test_into_the_square_and_back(display, data, pixel_aspect, side_px, degrees):
    """As files of their own: the plate's coordinates come back within a twentieth of a pixel."""
    aligned_from_plate = square_at(160.0, 90.0, side_px, degrees, pixel_aspect)
    face = painted(aligned_from_plate, data)
    plate = coordinates(data)
    (share,) = face.parts()
    square = st_map_node(plate, display, data, map_of_square(share, display))
    expected = affine.apply(affine.invert(aligned_from_plate), coordinates(SQUARE).reshape(-1, 2))
    assert np.abs(square.reshape(-1, 2) - expected).max() < LIMIT_PX
    st, _ = over(face, data)
    inside = (np.abs(st - 0.5) < 0.5 - 0.5 / SIDE).all(axis=2)  # between the centres of the outermost pixels
    back = st_map_node(square, SQUARE, SQUARE, st)
    assert inside.sum() > 0.8 * side_px * side_px / pixel_aspect
    assert np.abs(back - plate)[inside].max() < LIMIT_PX


@pytest.mark.parametrize(("display", "data", "pixel_aspect"), [plate for plate in PLATES if plate[1] != AUTOCROP])
def test_stretched_over_the_plate_and_back(display, data, pixel_aspect):
    """As a layer: the face fills the frame, and goes back through ``st`` as it is."""
    face = painted(square_at(160.0, 90.0, 80.0, 12.0, pixel_aspect), data)
    plate = coordinates(data)
    (share,) = face.parts()
    filled = st_map_node(plate, display, data, map_over_plate(share, display, data))
    assert filled.shape == plate.shape
    corner = affine.apply(affine.invert(face.aligned_from_plate), [[0.0, 0.0], [SIDE, SIDE]])
    top, left = display.y - data.y, display.x - data.x
    np.testing.assert_allclose(filled[top, left], corner[0], atol=1.0)
    np.testing.assert_allclose(filled[top + display.height - 1, left + display.width - 1], corner[1], atol=1.0)
    st, inside = over(face, data)
    back = st_map_node(filled, display, data, st)
    margin = np.abs(st - 0.5).max(axis=2) < 0.5 - 0.5 / SIDE
    assert (inside & margin).sum() > 2000
    assert np.abs(back - plate)[inside & margin].max() < LIMIT_PX


@pytest.mark.parametrize(("display", "data", "pixel_aspect"), PLATES)
def test_the_map_and_our_own_warp_cut_the_same_square(display, data, pixel_aspect):
    aligned_from_plate = square_at(160.0, 90.0, 90.0, 12.0, pixel_aspect)
    (share,) = painted(aligned_from_plate, data).parts()
    plate = coordinates(data)
    ours = warp_to_aligned(torch.from_numpy(plate).permute(2, 0, 1), aligned_from_plate, SIDE, origin=(data.x, data.y))
    hosts = st_map_node(plate, display, data, map_of_square(share, display))
    assert np.abs(ours.permute(1, 2, 0).numpy() - hosts).max() < LIMIT_PX


def test_opencv_reads_the_map_alike():
    """An implementation that is not ours, on a picture: the square it cuts is the one we cut."""
    aligned_from_plate = square_at(160.0, 90.0, 90.0, 12.0)
    (share,) = painted(aligned_from_plate, FRAME).parts()
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.random((180, 320)).astype(np.float32), (0, 0), 4.0)
    s, t = np.moveaxis(map_of_square(share, FRAME), 2, 0)
    theirs = cv2.remap(picture, s * 320 - 0.5, (1 - t) * 180 - 0.5, cv2.INTER_LINEAR)
    ours = warp_to_aligned(torch.from_numpy(picture)[None], aligned_from_plate, SIDE)[0].numpy()
    slope = np.hypot(*np.gradient(picture)).mean()
    assert np.abs(theirs - ours).mean() / slope < LIMIT_PX


def test_a_square_that_leaves_the_plate_is_told_where_it_is():
    """Beyond the frame the map leaves 0..1 and goes on; what lies inside comes back."""
    face = painted(square_at(5.0, 8.0, 90.0, 12.0), FRAME)
    (share,) = face.parts()
    st_inverse = map_of_square(share, FRAME)
    assert st_inverse[..., 0].min() < 0 < st_inverse[..., 0].max() < 1
    assert st_inverse[..., 1].max() > 1
    plate = coordinates(FRAME)
    square = st_map_node(plate, FRAME, FRAME, st_inverse)
    st, inside = over(face, FRAME)
    back = st_map_node(square, SQUARE, SQUARE, st)
    inside[:2], inside[:, :2] = False, False  # there the square holds the plate's repeated edge
    margin = np.abs(st - 0.5).max(axis=2) < 0.5 - 0.5 / SIDE
    assert np.abs(back - plate)[inside & margin].max() < LIMIT_PX


def test_a_face_that_does_not_say_where_its_square_lies():
    (share,) = replace(painted(square_at(160.0, 90.0, 90.0, 0.0), FRAME), aligned_from_plate=None).parts()
    with pytest.raises(Internal, match="st_inverse"):
        map_of_square(share, FRAME)
