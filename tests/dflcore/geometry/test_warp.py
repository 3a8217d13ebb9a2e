import itertools
import math

import numpy as np
import pytest
import torch

from dflcore.errors import InvalidInput
from dflcore.geometry import affine, warp


def similarity(scale, angle, x, y):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def scene(x, y):
    """A smooth picture as a formula, so that truth at any point is known without resampling; reaches 4 and below 0."""
    return np.stack(
        [
            2.0 + 2.0 * np.sin(x * 0.05 + 0.3) * np.cos(y * 0.04),
            np.cos(x * 0.03 - y * 0.06),
            -1.0 + 0.01 * x + 0.02 * y,
        ]
    )


def picture(width, height, x0=0.0, y0=0.0):
    rows, columns = np.mgrid[:height, :width] + 0.5
    return torch.from_numpy(scene(columns + x0, rows + y0).astype(np.float32))


def truth(plate_from_target, width, height):
    rows, columns = np.mgrid[:height, :width] + 0.5
    points = affine.apply(plate_from_target, np.stack([columns, rows], -1))
    return scene(points[..., 0], points[..., 1]).astype(np.float32)


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 1.7, 3.3])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_aligned_pixels_are_the_formula(scale, angle):
    size = 64
    center = np.array([150.3, 120.7])
    turn = similarity(scale, angle, 0, 0)
    aligned_from_plate = affine.compose(affine.shift(*(32.0 - affine.apply(turn, center))), turn)
    got = warp.warp_to_aligned(picture(300, 240), aligned_from_plate, size).numpy()
    assert got.dtype == np.float32
    want = truth(affine.invert(aligned_from_plate), size, size)
    assert np.abs(got - want).max() < (2e-3 if scale >= 0.9 else 2e-2)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_no_shift_when_shrinking_by_a_whole_factor(factor):
    size = 32
    aligned_from_plate = similarity(1.0 / factor, 0.0, 0.0, 0.0)
    got = warp.warp_to_aligned(picture(size * factor, size * factor), aligned_from_plate, size).numpy()[2]
    want = truth(affine.invert(aligned_from_plate), size, size)[2]  # a straight ramp: any shift shows
    np.testing.assert_allclose(got[2:-2, 2:-2], want[2:-2, 2:-2], atol=2e-4)


def test_a_ramp_stays_a_ramp_between_pixels():
    ramp = torch.arange(100, dtype=torch.float32)[None, None].expand(1, 20, 100) + 0.5
    for fraction in (0.1, 0.25, 0.4, 0.75):
        got = warp.warp_to_aligned(ramp, affine.shift(-30.0 - fraction, -2.0), 16)[0]
        np.testing.assert_allclose(got.numpy()[0], np.arange(16) + 30.5 + fraction, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_identity_is_bit_exact(dtype):
    image = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(1)).to(dtype) * 4
    image[0, 3, 3] = float("inf")
    assert torch.equal(warp.warp_to_aligned(image, affine.IDENTITY, 40), image)
    assert torch.equal(warp.warp_to_plate(image, affine.IDENTITY, (0, 0, 40, 40)), image)


def test_whole_pixel_shift_is_bit_exact_and_padded():
    image = torch.randn(1, 30, 30, generator=torch.Generator().manual_seed(2))
    got = warp.warp_to_plate(image, affine.shift(-100.0, -50.0), (95, 48, 40, 40), padding="zeros")
    assert torch.equal(got[:, 2:32, 5:35], image)
    got[:, 2:32, 5:35] = 0.0
    assert got.abs().max() == 0.0
    edge = warp.warp_to_plate(image, affine.shift(-100.0, -50.0), (95, 48, 40, 40), padding="border")
    assert edge[0, 0, 0] == image[0, 0, 0]
    assert edge[0, 39, 39] == image[0, 29, 29]


def test_a_crop_with_origin_equals_the_whole_plate():
    aligned_from_plate = similarity(0.8, 0.3, -60.0, -80.0)
    whole = picture(260, 240)
    x, y, w, h = warp.plate_bounds(aligned_from_plate, 96)
    x, y, w, h = x - 12, y - 12, w + 24, h + 24
    assert x >= 0
    assert y >= 0
    part = whole[:, y : y + h, x : x + w]
    a = warp.warp_to_aligned(whole, aligned_from_plate, 96)
    b = warp.warp_to_aligned(part, aligned_from_plate, 96, origin=(x, y))
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5)


def test_there_and_back():
    turn = similarity(1.3, -0.5, 0.0, 0.0)
    aligned_from_plate = affine.compose(affine.shift(*(64.0 - affine.apply(turn, [200.0, 150.0]))), turn)
    plate = picture(400, 300)
    aligned = warp.warp_to_aligned(plate, aligned_from_plate, 128)
    x, y, w, h = warp.plate_bounds(aligned_from_plate, 128)
    back = warp.warp_to_plate(aligned, aligned_from_plate, (x, y, w, h))
    inside = warp.warp_to_plate(torch.ones(1, 128, 128), aligned_from_plate, (x, y, w, h))[0] > 0.999
    rows, columns = np.mgrid[y : y + h, x : x + w] + 0.5
    want = scene(columns, rows)
    deep = torch.nn.functional.max_pool2d(1.0 - inside.float()[None], 5, 1, 2)[0] == 0.0
    assert deep.float().mean() > 0.3
    error = np.abs(back.numpy() - want)[:, deep.numpy()]
    assert error.max() < 5e-3


def test_a_window_is_a_part_of_the_whole():
    aligned_from_plate = similarity(0.7, 0.2, 10.0, 5.0)
    aligned = picture(64, 64)
    whole = warp.warp_to_plate(aligned, aligned_from_plate, (-10, -20, 150, 150))
    part = warp.warp_to_plate(aligned, aligned_from_plate, (20, 15, 33, 44))
    np.testing.assert_allclose(part.numpy(), whole[:, 35:79, 30:63].numpy(), atol=2e-5)


def test_a_batch_is_its_images():
    aligned_from_plate = similarity(0.4, 0.2, 10.0, 5.0)
    batch = torch.stack([picture(90, 80), picture(90, 80, 30.0, 10.0)])
    both = warp.warp_to_aligned(batch, aligned_from_plate, 32)
    for index in range(2):
        assert torch.equal(both[index], warp.warp_to_aligned(batch[index], aligned_from_plate, 32))


@pytest.mark.parametrize("value", [4.0, -0.75, 0.0])
@pytest.mark.parametrize("scale", [0.13, 0.6, 2.0])
def test_constant_light_stays(value, scale):
    plate = torch.full((1, 300, 300), value)
    got = warp.warp_to_aligned(plate, similarity(scale, 0.7, 5.0, 6.0), 48, padding="border")
    np.testing.assert_allclose(got.numpy(), value, rtol=5e-6)


def test_outside_is_black_or_the_edge():
    plate = torch.full((1, 20, 20), 3.0)
    far = affine.shift(-500.0, 300.0)
    for scale in (1.0, 0.3, 2.5):
        m = affine.compose(similarity(scale, 0.1, 0, 0), far)
        assert warp.warp_to_aligned(plate, m, 16, padding="zeros").abs().max() == 0.0
        np.testing.assert_allclose(warp.warp_to_aligned(plate, m, 16, padding="border").numpy(), 3.0, rtol=3e-6)


def test_fine_detail_does_not_alias():
    size, ratio = 64, 4
    rows, columns = np.mgrid[: size * ratio, : size * ratio] + 0.5
    stripes = np.sin(2 * np.pi * 0.235 * columns) + np.sin(2 * np.pi * 0.27 * rows)  # far above the target's Nyquist
    plate = torch.from_numpy(stripes.astype(np.float32))[None]
    m = similarity(1.0 / ratio, 0.0, 0.0, 0.0)
    assert warp.warp_to_aligned(plate, m, size)[0, 4:-4, 4:-4].std() < 0.07
    assert warp.warp_to_aligned(plate, m, size, antialias=False)[0, 4:-4, 4:-4].std() > 0.5
    kept = torch.from_numpy(np.sin(2 * np.pi * 0.02 * columns).astype(np.float32))[None]
    assert warp.warp_to_aligned(kept, m, size)[0, 4:-4, 4:-4].std() > 0.9 / math.sqrt(2)


def test_shrinking_changes_smoothly_with_scale():
    noise = torch.rand(1, 256, 256, generator=torch.Generator().manual_seed(3))
    spread = [
        float(warp.warp_to_aligned(noise, similarity(1.0 / r, 0.3, 20.0, 0.0), 20).std())
        for r in (1.0, 1.3, 1.9, 2.1, 3.9, 4.1, 5.9, 6.1)
    ]
    assert all(b < a * 1.25 for a, b in itertools.pairwise(spread))


def test_gradient_reaches_the_image():
    aligned = torch.rand(3, 32, 32, requires_grad=True)
    warp.warp_to_plate(aligned, similarity(2.5, 0.1, 0.0, 0.0), (0, 0, 12, 12)).sum().backward()
    assert aligned.grad is not None
    assert aligned.grad.abs().sum() > 0


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("scale", [0.3, 0.8, 1.9])
def test_what_needs_gradients_and_what_does_not_agree(padding, scale):
    aligned = torch.randn(2, 5, 48, 64, generator=torch.Generator().manual_seed(6)) * 3
    turn = similarity(scale, 0.4, 20.0, -11.0)
    plain = warp.warp_to_plate(aligned, turn, (-90, -40, 200, 150), padding=padding)
    trained = warp.warp_to_plate(aligned.clone().requires_grad_(), turn, (-90, -40, 200, 150), padding=padding)
    np.testing.assert_allclose(plain.numpy(), trained.detach().numpy(), atol=3e-3)
    assert (plain == 0).all(dim=1).any() == (padding == "zeros")


def test_only_the_wanted_pixels_are_filled():
    aligned = torch.randn(10, 64, 64, generator=torch.Generator().manual_seed(7))
    m = similarity(0.6, -0.5, 30.0, 40.0)
    window = warp.plate_bounds(m, 64)
    st = warp.st_map(m, 64, window)
    inside = ((st >= 0) & (st <= 1)).all(axis=0)
    assert 0.3 < inside.mean() < 0.9
    for image in (aligned, aligned.double()):
        whole = warp.warp_to_plate(image, m, window, padding="border")
        part = warp.warp_to_plate(image, m, window, padding="border", inside=inside)
        assert torch.equal(part, whole * torch.from_numpy(inside))
    none = warp.warp_to_plate(aligned, m, window, inside=np.zeros_like(inside))
    assert none.abs().max() == 0.0
    still = warp.warp_to_plate(aligned, affine.IDENTITY, (0, 0, 64, 64), inside=np.eye(64, dtype=bool))
    assert torch.equal(still, aligned * torch.eye(64))


def test_tables_made_in_inference_mode_serve_outside_it():
    image = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(8))
    m = similarity(1.2, 0.2, 1.0, 2.0)
    warp._weight_tables.cache_clear()
    with torch.inference_mode():
        within = warp.warp_to_plate(image.clone(), m, (0, 0, 30, 30))
    inside = np.ones((30, 30), dtype=bool)
    assert torch.equal(warp.warp_to_plate(image, m, (0, 0, 30, 30), inside=inside), within)


def test_st_map_is_exact_far_from_the_origin():
    m = similarity(0.05, 0.7, -3000.0, 1234.5)
    window = (30000, -20000, 300, 200)
    st = warp.st_map(m, 256, window)
    columns, rows = np.arange(300) + 30000.5, np.arange(200) - 19999.5
    points = affine.apply(m, np.stack(np.meshgrid(columns, rows), axis=-1)) / 256
    np.testing.assert_allclose(st[0], points[..., 0], rtol=2e-7, atol=2e-7)
    np.testing.assert_allclose(st[1], 1.0 - points[..., 1], rtol=2e-7, atol=2e-7)


def test_plate_bounds_are_tight():
    assert warp.plate_bounds(affine.shift(-10.0, -20.0), 64) == (10, 20, 64, 64)
    assert warp.plate_bounds(affine.shift(-10.5, -20.0), 64) == (10, 20, 65, 64)
    x, y, w, h = warp.plate_bounds(similarity(0.5, math.pi / 4, 0.0, 0.0), 100)
    assert (w, h) == (283, 284)  # the corners fall inside pixels
    assert (x, y) == (0, -142)


def test_st_map_names_the_aligned_point_bottom_left_up():
    m = similarity(2.0, 0.3, 4.0, -7.0)
    st = warp.st_map(m, 50, (3, -5, 20, 10))
    assert st.shape == (2, 10, 20)
    assert st.dtype == np.float32
    point = affine.apply(m, [3 + 7 + 0.5, -5 + 2 + 0.5])
    assert st[0, 2, 7] == pytest.approx(point[0] / 50, abs=1e-6)
    assert st[1, 2, 7] == pytest.approx(1.0 - point[1] / 50, abs=1e-6)
    square = warp.st_map(affine.IDENTITY, 4, (0, 0, 4, 4))
    np.testing.assert_allclose(square[1, 0], 0.875)  # the top row has the highest t


def test_st_map_agrees_with_the_warp():
    m = similarity(0.9, -0.4, 30.0, 60.0)
    aligned = picture(96, 96)
    window = (20, 10, 40, 30)
    st = warp.st_map(m, 96, window)
    by_map = scene(st[0] * 96, (1.0 - st[1]) * 96)
    got = warp.warp_to_plate(aligned, m, window, padding="border").numpy()
    inside = (st > 0.05).all(0) & (st < 0.95).all(0)
    assert inside.mean() > 0.5
    assert np.abs(got - by_map)[:, inside].max() < 2e-3


def test_a_large_plate_keeps_its_precision():
    ramp = torch.arange(8000, dtype=torch.float32)[None, None].expand(1, 40, 8000) / 8000
    got = warp.warp_to_aligned(ramp, affine.shift(-7900.3, -3.0), 32)[0, 0] * 8000
    np.testing.assert_allclose(got.numpy(), np.arange(32) + 7900.3, atol=1e-2)


def test_refuses_what_is_no_image():
    with pytest.raises(InvalidInput):
        warp.warp_to_aligned(torch.zeros(3, 4), affine.IDENTITY, 4)
    with pytest.raises(InvalidInput):
        warp.warp_to_aligned(torch.zeros(3, 4, 4, dtype=torch.uint8), affine.IDENTITY, 4)
    with pytest.raises(InvalidInput):
        warp.warp_to_plate(torch.zeros(3, 4, 4), affine.IDENTITY, (0, 0, 0, 4))
