"""Laws of merging: what must hold bit for bit, what is delivered, what is refused."""

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.exr import ExrLayer, read_exr_layers
from dflcore.io.open_plate import open_plate
from dflcore.progress import FrameProgress

SIZE = (320, 240)
"""Of the plate in conftest."""


def frame_layers(shot, frame=1001, output="out/swap.{}.exr"):
    return read_exr_layers(shot.folder / output.format(frame))


def plate_layers(shot, frame=1001):
    return read_exr_layers(shot.folder / f"plate/shot.{frame}.exr")


def bits(array):
    return array.view(np.uint16 if array.dtype == np.float16 else np.uint32)


def rgb_of(layers, prefix=""):
    return np.stack([layers[f"{prefix}{c}"] for c in "RGB"], axis=2)


@pytest.fixture
def wild(portrait_linear):
    """The portrait with light and numbers a plate may really hold, away from and under the face."""
    pixels = portrait_linear.copy()
    pixels[5, 5] = 4.0
    pixels[6, 6] = np.nan
    pixels[7, 7] = np.inf
    pixels[8, 8] = -0.25
    pixels[9, 9] = 60000.0
    return pixels


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_outside_the_matte_the_plates_own_bits(make_shot, wild, dtype):
    alpha = np.linspace(0, 1, wild.shape[0] * wild.shape[1], dtype=np.float32).reshape(wild.shape[:2])
    shot = make_shot(frames=(1001,), pixels=wild, alpha=alpha, dtype=dtype)
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_without_face) == (1, 0)
    plate, merged = plate_layers(shot), frame_layers(shot)
    outside = merged["matte.A"] == 0
    assert 0.02 < 1 - outside.mean() < 0.5
    for channel in "RGB":
        assert merged[channel].dtype == dtype
        assert (bits(merged[channel])[outside] == bits(plate[channel])[outside]).all()
        assert (merged[channel][~outside] != plate[channel][~outside]).mean() > 0.5
    assert (bits(merged["A"]) == bits(plate["A"])).all()
    assert merged["R"][5, 5] == 4.0


def test_alpha_is_one_where_the_plate_has_none(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge()
    assert (frame_layers(shot)["A"] == 1).all()


@pytest.fixture
def ramp():
    """Alpha over the plate: 0 on the left, 1 on the right, and everything between across the face."""
    steps = np.clip(np.linspace(-1.0, 2.0, SIZE[0], dtype=np.float32), 0.0, 1.0)
    return np.broadcast_to(steps, (SIZE[1], SIZE[0])).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("profile", ["layered", "flat"])
def test_a_face_is_covered_as_the_plate_is(make_shot, portrait_linear, ramp, profile):
    """The plate is premultiplied, so what replaces it must be: nothing glows where alpha is 0."""
    shot = make_shot(frames=(1001,), pixels=portrait_linear * ramp[..., None], alpha=ramp, faces=((-30.0, 0.0),))
    shot.merge(profile=profile, layers="swap,matte")
    merged, plate = frame_layers(shot), plate_layers(shot)
    alpha = plate["A"].astype(np.float64)[..., None]
    if profile == "layered":
        matte, swap = merged["matte.A"].astype(np.float64)[..., None], rgb_of(merged, "swap.").astype(np.float64)
    else:
        patch = frame_layers(shot, output="out/swap_patch.{}.exr")
        matte = patch["A"].astype(np.float64)[..., None]
        swap = rgb_of(frame_layers(shot, output="out/swap_swap.{}.exr")).astype(np.float64)
        over = rgb_of(patch).astype(np.float64) + rgb_of(plate).astype(np.float64) * (1 - matte)
        np.testing.assert_allclose(rgb_of(merged), over, rtol=1.5e-3, atol=1e-5)
    expected = rgb_of(plate).astype(np.float64) * (1 - matte) + swap * alpha * matte
    np.testing.assert_allclose(rgb_of(merged), expected, rtol=6e-4, atol=1e-6)
    assert (bits(merged["A"]) == bits(plate["A"])).all()
    nowhere = (matte[..., 0] > 0.5) & (alpha[..., 0] == 0)
    assert nowhere.sum() > 50
    assert not rgb_of(merged)[nowhere].any()


def test_the_network_sees_a_half_transparent_face_as_if_it_were_solid(make_shot, portrait_linear, fake_swapper):
    solid, thin = fake_swapper(), fake_swapper()
    make_shot(frames=(1001,), dtype=np.float32).merge("a/swap.####.exr", swapper=solid)
    alpha = np.full((SIZE[1], SIZE[0]), 0.25, np.float32)
    shot = make_shot(frames=(1001,), dtype=np.float32, pixels=portrait_linear * 0.25, alpha=alpha)
    shot.merge("b/swap.####.exr", swapper=thin)
    np.testing.assert_allclose(solid.seen[0], thin.seen[0], atol=1e-6)
    a, b = frame_layers(shot, output="a/swap.{}.exr"), frame_layers(shot, output="b/swap.{}.exr")
    np.testing.assert_allclose(rgb_of(a) * 0.25, rgb_of(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("profile", ["layered", "flat"])
def test_a_solid_alpha_changes_no_bit(make_shot, profile):
    make_shot(frames=(1001,)).merge("a/swap.####.exr", profile=profile)
    shot = make_shot(frames=(1001,), alpha=np.ones((SIZE[1], SIZE[0]), np.float32))
    shot.merge("b/swap.####.exr", profile=profile)
    for path in (shot.folder / "a").glob("swap*.exr"):
        without, solid = read_exr_layers(path), read_exr_layers(shot.folder / "b" / path.name)
        assert all((bits(without[name]) == bits(solid[name])).all() for name in without)


def test_a_glow_over_hardly_any_alpha_stays_finite(make_shot, portrait_linear):
    alpha = np.full((SIZE[1], SIZE[0]), 1e-38, np.float32)
    shot = make_shot(frames=(1001,), dtype=np.float32, pixels=portrait_linear * 1000, alpha=alpha)
    shot.merge()
    assert np.isfinite(rgb_of(frame_layers(shot))).all()


def test_opacity_zero_returns_the_plate(make_shot, wild):
    shot = make_shot(frames=(1001,), pixels=wild)
    shot.merge(opacity=0.0)
    plate, merged = plate_layers(shot), frame_layers(shot)
    assert (merged["matte.A"] == 0).all()
    assert (bits(rgb_of(merged)) == bits(rgb_of(plate))).all()


def test_an_empty_learned_mask_returns_the_plate(make_shot, wild, fake_swapper):
    shot = make_shot(frames=(1001,), pixels=wild)
    shot.merge(swapper=fake_swapper(mask=0.0))
    assert (bits(rgb_of(frame_layers(shot))) == bits(rgb_of(plate_layers(shot)))).all()


def test_a_frame_without_a_face_is_the_plate_with_black_layers(make_shot):
    shot = make_shot(face_frames=(1002,))
    result, control = shot.merge()
    assert (result.frames_written, result.frames_without_face) == (3, 2)
    plate, merged = plate_layers(shot), frame_layers(shot)
    assert (bits(rgb_of(merged)) == bits(rgb_of(plate))).all()
    assert not any(values.any() for name, values in merged.items() if "." in name)
    assert list(merged) == list(frame_layers(shot, 1002))
    progress = [event for event in control.events if isinstance(event, FrameProgress)]
    assert [(event.done, event.total, event.faces) for event in progress] == [
        (0, 3, None), (1, 3, 0), (2, 3, 1), (3, 3, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("transfer", ["none", "rct"])
def test_an_identity_swapper_returns_nearly_the_plate(make_shot, portrait_linear, transfer, fake_swapper):
    smooth = cv2.GaussianBlur(portrait_linear, (0, 0), 2.0)  # 96 px cannot hold more detail than this
    shot = make_shot(frames=(1001,), pixels=smooth)
    shot.merge(swapper=fake_swapper(resolution=128), color_transfer=transfer)
    difference = np.abs(rgb_of(frame_layers(shot)).astype(np.float32) - rgb_of(plate_layers(shot)).astype(np.float32))
    assert difference.max() < 0.01


def test_layers_give_the_beauty_again(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge(opacity=0.8)
    merged = frame_layers(shot)
    plate = rgb_of(plate_layers(shot)).astype(np.float64)
    matte = merged["matte.A"].astype(np.float64)[..., None]
    swap = rgb_of(merged, "swap.").astype(np.float64)
    np.testing.assert_allclose(rgb_of(merged), plate + matte * (swap - plate), rtol=6e-4, atol=1e-6)
    assert merged["matte.A"].max() == pytest.approx(0.8, abs=1e-3)
    assert merged["st.R"].dtype == np.float32
    assert merged["swap.R"].dtype == np.float16


def test_two_overlapping_faces_give_the_beauty_again(make_shot):
    shot = make_shot(frames=(1001,), faces=((0.0, 0.0), (40.0, 10.0)))
    shot.merge()
    merged = frame_layers(shot)
    plate = rgb_of(plate_layers(shot)).astype(np.float64)
    matte = merged["matte.A"].astype(np.float64)[..., None]
    swap = rgb_of(merged, "swap.").astype(np.float64)
    np.testing.assert_allclose(rgb_of(merged), plate + matte * (swap - plate), rtol=2e-3, atol=2e-6)
    alone = make_shot(frames=(1001,), faces=((0.0, 0.0),))
    alone.merge("alone/swap.####.exr")
    single = frame_layers(alone, output="alone/swap.{}.exr")
    top = single["matte.A"] == 1  # face 0 is the largest and lies on top
    assert (rgb_of(merged)[top] == rgb_of(single)[top]).all()


def test_every_face_is_painted_from_the_original_frame(make_shot, fake_swapper):
    shot = make_shot(frames=(1001,), faces=((0.0, 0.0), (30.0, 0.0)))
    swapper = fake_swapper(tint=(1.0, 0.0, 0.0))
    shot.merge(swapper=swapper, color_transfer="none")
    (batch,) = swapper.seen
    assert batch.shape[0] == 2
    assert (batch[:, 1].amax(dim=(1, 2)) > 0.3).all()


def test_the_st_map_warps_as_we_do(make_shot, portrait_linear, fake_swapper):
    """Coordinates carried through the swap layer agree with the ST map: an independent remap lands within 0.05 px."""
    resolution = 64

    class Ramp(fake_swapper):
        def swap(self, target):
            _, masks, _ = super().swap(target)
            axis = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
            face = np.stack([np.broadcast_to(axis, (resolution, resolution)), np.broadcast_to(axis[:, None], (resolution, resolution)), np.zeros((resolution, resolution), np.float32)])  # fmt: skip # noqa: E501
            return self.tint.new_tensor(face)[None], masks, masks

    shot = make_shot(frames=(1001,), dtype=np.float32)
    shot.merge(swapper=Ramp(resolution), color_transfer="none", layers="raw,st,matte")
    merged = frame_layers(shot)
    encoded = shot.converter.to_network(rgb_of(merged, "raw."), "ACEScg")
    s, t = merged["st.R"], merged["st.G"]
    inside = merged["matte.A"] > 0
    scale = resolution / np.abs(np.diff(s, axis=1)[inside[:, 1:]]).mean() / resolution  # plate px per unit of s
    ramp = ((np.arange(resolution, dtype=np.float32) + 0.5) / resolution)[None].repeat(resolution, 0)
    remapped = cv2.remap(ramp, s * resolution - 0.5, (1 - t) * resolution - 0.5, cv2.INTER_LINEAR)
    assert np.abs(remapped - encoded[..., 0])[inside].max() * scale < 0.05
    assert np.abs((1 - t) - encoded[..., 1])[inside].max() * scale < 0.05


def test_overscan_windows_aspect_and_header_are_kept(make_shot):
    metadata = {"owner": "dept", "framesPerSecond": 24.0, "nuke/node": "abc"}
    shot = make_shot(frames=(1001,), overscan=12, display_origin=(7, 3), metadata=metadata)
    shot.merge(provenance_attributes="full")
    spec = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr")).spec()
    plate = oiio.ImageInput.open(str(shot.folder / "plate/shot.1001.exr")).spec()
    for name in ("x", "y", "width", "height", "full_x", "full_y", "full_width", "full_height"):
        assert getattr(spec, name) == getattr(plate, name)
    assert spec.get_string_attribute("nuke/node") == "abc"
    assert spec.get_int_attribute("imageCounter") == 1001
    assert spec.get_int_attribute("dfl/synthetic") == 1
    assert spec.get_string_attribute("dfl/authorizationReference") == "R-1"
    centre = _matte_centre(frame_layers(shot)["matte.A"])
    plain = make_shot(frames=(1001,))
    plain.merge("plain/swap.####.exr")
    expected = _matte_centre(frame_layers(plain, output="plain/swap.{}.exr")["matte.A"])
    np.testing.assert_allclose(centre - 12, expected, atol=0.1)


def _matte_centre(matte):
    weights = matte.astype(np.float64)
    y, x = np.mgrid[: matte.shape[0], : matte.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


def test_anamorphic_pixels_reach_the_network_undistorted(make_shot, portrait_linear, fake_swapper):
    normal = fake_swapper()
    make_shot(frames=(1001,)).merge("a/swap.####.exr", swapper=normal)
    squeezed_pixels = cv2.resize(portrait_linear, (SIZE[0] // 2, SIZE[1]), interpolation=cv2.INTER_AREA)
    squeezed = fake_swapper()
    shot = make_shot(frames=(1001,), pixels=squeezed_pixels, squeeze=2, pixel_aspect=2.0)
    shot.merge("b/swap.####.exr", swapper=squeezed)
    assert (normal.seen[0] - squeezed.seen[0]).abs().mean() < 0.02


def test_unknown_plate_channels_are_kept_and_collisions_reported(make_shot):
    shape = (SIZE[1], SIZE[0])
    noise = np.random.default_rng(0).random((*shape, 2))
    extra = (
        ExrLayer(name="normal", channels=("X", "Y"), pixels=noise.astype(np.float16)),
        ExrLayer(name="matte", channels=("A",), pixels=np.ones((*shape, 1), np.float16)),
    )  # fmt: skip
    shot = make_shot(frames=(1001, 1002), extra=extra)
    _, control = shot.merge()
    merged, plate = frame_layers(shot), plate_layers(shot)
    assert (merged["normal.X"] == plate["normal.X"]).all()
    assert not (merged["matte.A"] == 1).all()
    assert control.reasons.count("CHANNELS_DROPPED") == 1


def test_the_flat_profile_reports_every_channel_it_has_no_place_for(make_shot):
    normal = np.zeros((SIZE[1], SIZE[0], 2), np.float16)
    shot = make_shot(frames=(1001, 1002), extra=(ExrLayer(name="normal", channels=("X", "Y"), pixels=normal),))
    _, control = shot.merge(profile="flat", layers="matte")
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "CHANNELS_DROPPED")
    assert notice.details["channels"] == "normal.X,normal.Y"


@pytest.mark.parametrize("profile", ["layered", "flat"])
def test_the_channels_of_an_integer_plate_are_reported(make_shot, profile):
    shot = make_shot(frames=(1001,))
    path = shot.folder / "plate" / "shot.1001.tif"
    spec = oiio.ImageSpec(*SIZE, 5, "uint16")
    spec.channelnames = ("R", "G", "B", "A", "dust")
    spec.alpha_channel = 3
    target = oiio.ImageOutput.create(str(path))
    target.open(str(path), spec)
    target.write_image(np.full((SIZE[1], SIZE[0], 5), 30000, np.uint16))
    target.close()
    plate = open_plate(str(path.with_name("shot.####.tif")), resolve_space=shot.converter.find)
    lost = [name for name in plate.read(1001).channel_names if name not in ("R", "G", "B", "A")]
    _, control = shot.merge(plate=plate, profile=profile, layers="matte")
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "CHANNELS_DROPPED")
    assert notice.details["channels"].split(",") == lost
    assert len(lost) == 1


def test_a_corrected_alignment_is_where_the_face_is_put(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge("a/swap.####.exr", matte_mode="full")
    shot = make_shot(frames=(1001,), corrected=(12.0, 5.0))
    shot.merge("b/swap.####.exr", matte_mode="full")
    before, after = (_matte_centre(frame_layers(shot, output=f"{name}/swap.{{}}.exr")["matte.A"]) for name in "ab")
    np.testing.assert_allclose(after - before, (12.0, 5.0), atol=0.1)


def test_numbers_that_are_none_under_the_face_are_replaced_and_reported(make_shot, portrait_linear):
    pixels = portrait_linear.copy()
    x, y = 165, 110  # on the nose
    pixels[y, x] = np.nan
    pixels[y + 4, x] = np.inf
    shot = make_shot(frames=(1001,), pixels=pixels)
    _, control = shot.merge()
    assert "PLATE_NOT_FINITE" in control.reasons
    merged = frame_layers(shot)
    inside = merged["matte.A"] > 0
    assert inside[y, x]
    assert np.isfinite(rgb_of(merged)[inside]).all()
    assert np.isfinite(rgb_of(merged, "swap.")).all()


@pytest.mark.parametrize("stops", [-6.0, 5.0])
def test_very_dark_and_very_bright_faces_come_back_at_their_own_level(make_shot, portrait_linear, stops, fake_swapper):
    smooth = cv2.GaussianBlur(portrait_linear, (0, 0), 2.0) * np.float32(2.0**stops)
    swapper = fake_swapper(resolution=128)
    shot = make_shot(frames=(1001,), pixels=smooth, dtype=np.float32)
    shot.merge(swapper=swapper)
    assert 0.2 < float(swapper.seen[0][:, :, 48:80, 48:80].mean()) < 0.95
    merged, plate = rgb_of(frame_layers(shot)), rgb_of(plate_layers(shot))
    inside = frame_layers(shot)["matte.A"] > 0.5
    relative = np.abs(merged - plate)[inside] / (2.0**stops)
    assert np.percentile(relative, 99) < 0.03


def test_flat_profile_patch_over_plate_gives_the_beauty(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge("flat/shot_v1.####.exr", profile="flat", layers="matte,st")
    names = sorted(path.name for path in (shot.folder / "flat").iterdir() if path.suffix in (".exr", ".json"))
    assert names == [
        "shot_v1.1001.exr", "shot_v1.provenance.json", "shot_v1_matte.1001.exr", "shot_v1_patch.1001.exr",
        "shot_v1_st.1001.exr",
    ]  # fmt: skip
    beauty = frame_layers(shot, output="flat/shot_v1.{}.exr")
    patch = frame_layers(shot, output="flat/shot_v1_patch.{}.exr")
    matte = frame_layers(shot, output="flat/shot_v1_matte.{}.exr")
    assert list(beauty) == list(patch) == list(matte) == ["R", "G", "B", "A"]
    over = (
        rgb_of(patch).astype(np.float64) + rgb_of(plate_layers(shot)) * (1 - patch["A"].astype(np.float64))[..., None]
    )
    np.testing.assert_allclose(rgb_of(beauty), over, rtol=1e-3, atol=1e-5)
    assert (matte["R"] == patch["A"]).all()
    assert frame_layers(shot, output="flat/shot_v1_st.{}.exr")["R"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_display_referred_plate_becomes_linear_rec709_everywhere_alike(make_shot, astronaut, dtype):
    shot = make_shot(frames=(1001,))
    codes = astronaut[20 : 20 + SIZE[1], 60 : 60 + SIZE[0]].astype(dtype)
    codes = codes if dtype == np.uint8 else codes * 257
    path = shot.folder / "plate" / "shot.1001.png"
    cv2.imwrite(str(path), codes[..., ::-1])
    plate = open_plate(str(path.with_name("shot.####.png")), resolve_space=shot.converter.find)
    shot.merge(plate=plate)
    merged = frame_layers(shot)
    outside = merged["matte.A"] == 0
    encoded = codes / np.float64(np.iinfo(dtype).max)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(rgb_of(merged)[outside], linear[outside], rtol=1e-3, atol=1e-6)
    assert rgb_of(merged).dtype == np.float16
    spec = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr")).spec()
    assert "709" in spec.get_string_attribute("colorspace")


def test_sizes_in_percent_do_not_depend_on_resolution(make_shot, fake_swapper):
    shot = make_shot(frames=(1001,))
    areas = []
    for resolution in (64, 128):
        output = f"r{resolution}/swap.####.exr"
        shot.merge(output, swapper=fake_swapper(resolution), matte_mode="hull", matte_erode=4.0, matte_feather=8.0)
        areas.append(frame_layers(shot, output=output.replace("####", "{}"))["matte.A"].astype(np.float64).sum())
    assert areas[0] == pytest.approx(areas[1], rel=0.03)


def test_face_scale_grows_the_face(make_shot):
    shot = make_shot(frames=(1001,))
    areas = {}
    for scale in (-20.0, 0.0, 20.0):
        shot.merge(f"s{scale}/swap.####.exr", face_scale=scale)
        areas[scale] = frame_layers(shot, output=f"s{scale}/swap.{{}}.exr")["matte.A"].astype(np.float64).sum()
    assert areas[20.0] == pytest.approx(areas[0.0] * 1.44, rel=0.02)
    assert areas[-20.0] == pytest.approx(areas[0.0] * 0.64, rel=0.02)


def test_an_unknown_layer_is_refused_with_the_known_ones(make_shot):
    with pytest.raises(InvalidInput, match=r"matte_hair.*matte_hull") as caught:
        make_shot().merge(layers="swap,matte_hair")
    assert caught.value.reason == "UNKNOWN_LAYER"


def test_a_faceset_of_other_frames_is_refused(make_shot):
    with pytest.raises(InvalidInput, match="2001-2003") as caught:
        make_shot(face_frames=(2001, 2002, 2003)).merge()
    assert caught.value.reason == "NO_FACES_FOR_PLATE"


def test_a_diverged_model_is_named(make_shot, fake_swapper):
    with pytest.raises(InvalidInput, match="diverged"):
        make_shot().merge(swapper=fake_swapper(tint=(float("nan"),) * 3))


def test_a_damaged_frame_is_an_error_that_names_it_or_is_skipped(make_shot):
    shot = make_shot()
    damaged = shot.folder / "plate/shot.1002.exr"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.raises(DataCorrupt, match=r"shot\.1002\.exr") as caught:
        shot.merge()
    assert caught.value.details["frame"] == "1002"
    result, control = shot.merge(missing_frames="skip")
    assert result.frames_skipped == 1
    assert "FRAME_SKIPPED" in control.reasons
    assert not (shot.folder / "out/swap.1002.exr").exists()
    assert (shot.folder / "out/swap.1003.exr").exists()


def test_a_missing_frame_is_an_error(make_shot):
    shot = make_shot()
    with pytest.raises(NotFound):
        shot.plate(frames=(1001, 1099))


def test_stopping_leaves_whole_frames_and_the_rest_follows(make_shot, recorder):
    shot = make_shot(frames=tuple(range(1001, 1013)))
    result, _ = shot.merge(control=recorder(stop_after=2))
    assert result.stopped is not None
    assert 2 <= result.frames_written < 12
    rest, _ = shot.merge()
    assert rest.stopped is None
    assert rest.frames_kept == result.frames_written
    assert rest.frames_kept + rest.frames_written == 12


def test_steps_are_timed(make_shot):
    result, _ = make_shot().merge()
    assert set(result.steps_ms) == {
        "read", "light", "warp", "colour", "network", "matte", "blend", "composite", "write"
    }  # fmt: skip
