"""Laws of delivery: what a frame's files hold in each profile, pixel for pixel, and how they are written."""

from dataclasses import replace

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.warp import st_map
from dflcore.io.exr import COMPRESSIONS, read_exr_layers, write_exr
from dflcore.io.plate import PlateImage, Window
from dflcore.merge.aovs import LAYERS, ON_REQUEST, PATCH, FrameLayout, parse_layers
from dflcore.merge.composite import FaceLayers, inside, stack_faces
from dflcore.merge.light import PlateLight

DISPLAY = Window(x=7, y=3, width=120, height=80)
DATA = Window(x=-5, y=-3, width=140, height=90)
SIDE = 32
EVERYTHING = (*LAYERS, *ON_REQUEST)
PROFILES = ("layered", "flat", "patch")


def bits(values):
    return values.view(np.uint16 if values.dtype == np.float16 else np.uint32)


def plate_light(dtype=np.float16, *, alpha=None, wild=False, data=DATA, extra=()):
    """A plate of random light with overscan, its own alpha, and numbers a plate may really hold."""
    rng = np.random.default_rng(0)
    pixels = np.ones((data.height, data.width, 4 + len(extra)), dtype)
    pixels[..., :3] = rng.uniform(-0.1, 9, (data.height, data.width, 3))
    if alpha is not None:
        pixels[..., 3] = alpha
        pixels[..., :3] *= pixels[..., 3:4]
    if wild:
        pixels[0, 0, :3] = np.nan, np.inf, -np.inf
        pixels[1, 1, :3] = -0.0, 6e-8, 65504
    image = PlateImage(
        frame=1001,
        pixels=pixels,
        channel_names=("R", "G", "B", "A", *extra),
        channel_types=("half" if dtype == np.float16 else "float",) * (4 + len(extra)),
        data_window=data,
        display_window=DISPLAY,
        pixel_aspect=2.0,
        color_space="ACEScg",
        source_path="plate.exr",
    )
    return PlateLight(image=image, beauty=pixels[..., :4], rgb=pixels[..., :3], color_space="ACEScg")


def face(x, y, width, height, *, person="", solid=0.3, seed=0):
    """A face over a window, its matte empty at the rim, ragged inside and 1 in places."""
    rng = np.random.default_rng(seed)
    window = Window(x=x, y=y, width=width, height=height)
    matte = rng.uniform(0, 1, (height, width)).astype(np.float32)
    matte[rng.random(matte.shape) < solid] = 1
    matte[rng.random(matte.shape) < 0.1] = 0
    matte[:3], matte[-2:], matte[:, :4], matte[:, -1:] = 0, 0, 0, 0
    planes = rng.uniform(0, 1, (4, height, width)).astype(np.float32)
    aligned_from_plate = affine.compose(
        np.array([[SIDE / width, 0.0, 0.0], [0.0, SIDE / height, 0.0]]), affine.shift(-x, -y)
    )
    return FaceLayers(
        window=window,
        swap=rng.uniform(0, 20, (height, width, 3)).astype(np.float32),
        raw=rng.uniform(0, 20, (height, width, 3)).astype(np.float32),
        matte=matte,
        learned_source=planes[0],
        learned_target=planes[1],
        hull=planes[2],
        segmentation=planes[3],
        st=st_map(aligned_from_plate, SIDE, (x, y, width, height)),
        person=person,
        aligned_from_plate=aligned_from_plate,
        size=SIDE,
    )


def arranged(profile, light, faces, names=EVERYTHING, **options):
    return FrameLayout(profile, names, **options).arrange(light, faces)[0]


def channels(file):
    """Full channel name → (H, W) of a file."""
    return {name: layer.pixels[..., index] for layer in file.layers for index, name in enumerate(layer.channel_names)}


def write(file, path):
    write_exr(
        path,
        layers=file.layers,
        data_window=file.data_window,
        display_window=file.display_window,
        pixel_aspect=file.pixel_aspect,
        metadata=file.metadata,
        compression=file.compression,
    )
    return path


def rgb(found, prefix=""):
    return np.stack([found[f"{prefix}{letter}"] for letter in "RGB"], axis=2)


def over_data(file, values, data=DATA):
    """Values of a file over the plate's data window, 0 around its own."""
    whole = np.zeros((data.height, data.width, *values.shape[2:]), values.dtype)
    whole[inside(file.data_window, data)] = values
    return whole


@pytest.fixture
def two_people():
    return stack_faces([face(10, 12, 50, 40, person="bob", seed=1), face(40, 20, 44, 52, person="anna", seed=2)])


ALPHA = np.linspace(0, 1, DATA.width, dtype=np.float32)[None].repeat(DATA.height, 0)
DTYPES = [(np.float16, 2.0**-11), (np.float32, 2.0**-22)]
"""Pixel types, and how far a number may be from the one in the file, as a part of it."""


@pytest.mark.parametrize("profile", ["layered", "flat"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_outside_the_matte_the_plates_own_bits(profile, alpha, dtype, two_people):
    light = plate_light(dtype, alpha=alpha, wild=True)
    before = light.beauty.copy()
    file = arranged(profile, light, two_people)[""]
    beauty = file.layers[0].pixels
    assert beauty.dtype == dtype
    matte = np.zeros(beauty.shape[:2], np.float32)
    matte[inside(two_people.window, DATA)] = two_people.matte
    outside = matte == 0
    assert 0.1 < outside.mean() < 0.9
    assert (bits(beauty)[outside] == bits(before)[outside]).all()
    assert (bits(beauty[..., 3]) == bits(before[..., 3])).all()
    assert (bits(light.beauty) == bits(before)).all()
    assert (beauty[..., :3] != before[..., :3]).any(axis=2)[~outside].mean() > 0.5


@pytest.mark.parametrize(("dtype", "rounding"), DTYPES)
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_the_layers_give_the_beauty_by_the_law(dtype, rounding, alpha, two_people):
    """beauty = plate + matte * (swap * alpha - plate), of what the file holds."""
    light = plate_light(dtype, alpha=alpha)
    found = channels(arranged("layered", light, two_people)[""])
    plate, cover = light.beauty[..., :3].astype(np.float64), light.beauty[..., 3:].astype(np.float64)
    matte, swap = found["matte.A"].astype(np.float64)[..., None], rgb(found, "swap.").astype(np.float64)
    expected = plate + matte * (swap * cover - plate)
    limit = rounding * np.abs(expected) + 5e-7 * (np.abs(swap) + np.abs(plate))
    assert (np.abs(rgb(found) - expected) <= limit).all()
    solid = found["matte.A"] == 1
    if alpha is None:
        assert solid.any()
        assert (rgb(found)[solid] == rgb(found, "swap.")[solid]).all()


@pytest.mark.parametrize(("dtype", "rounding"), DTYPES)
@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("profile", ["flat", "patch"])
def test_the_patch_over_the_plate_is_the_beauty(profile, dtype, rounding, alpha, two_people):
    light = plate_light(dtype, alpha=alpha)
    files = arranged(profile, light, two_people, names=("matte",))
    file = files[PATCH if profile == "flat" else ""]
    patch = over_data(file, file.layers[0].pixels)
    plate = light.beauty[..., :3].astype(np.float64)
    over = patch[..., :3].astype(np.float64) + plate * (1 - patch[..., 3:].astype(np.float64))
    beauty = arranged("layered", light, two_people)[""].layers[0].pixels
    size = np.abs(patch[..., :3].astype(np.float64)) + np.abs(plate)
    assert (np.abs(over - beauty[..., :3]) <= 2 * rounding * size + 1e-6).all()
    outside = patch[..., 3] == 0
    assert not patch[outside].any()
    assert (over[outside] == beauty[..., :3][outside]).all()
    if alpha is None:
        solid = patch[..., 3] == 1
        assert (patch[solid] == beauty[solid]).all()


def test_a_patch_is_as_small_as_the_matte_and_says_where_it_lies():
    alone = face(10, 12, 50, 40)
    file = arranged("patch", plate_light(), alone)[""]
    rows, columns = np.nonzero(alone.matte)
    assert file.data_window == Window(
        x=10 + columns.min(),
        y=12 + rows.min(),
        width=columns.max() - columns.min() + 1,
        height=rows.max() - rows.min() + 1,
    )
    assert (file.display_window, file.pixel_aspect) == (DISPLAY, 2.0)
    assert all(layer.pixels.shape[:2] == (file.data_window.height, file.data_window.width) for layer in file.layers)


@pytest.mark.parametrize("names", [("matte",), EVERYTHING])
def test_a_patch_holds_what_the_layers_hold_there(names, two_people):
    light = plate_light()
    small = arranged("patch", light, two_people, names, people=("anna", "bob"))[""]
    large = channels(arranged("layered", light, two_people, names, people=("anna", "bob"))[""])
    kept = channels(small)
    assert {name for name in large if not name.startswith("st_inverse")} == set(kept)
    for name, values in kept.items():
        if name not in "RGBA":
            assert (values == large[name][inside(small.data_window, DATA)]).all()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("faces", [None, replace(face(10, 12, 50, 40), matte=np.zeros((40, 50), np.float32))])
def test_a_frame_without_a_face_has_the_same_files_and_channels(profile, faces, two_people):
    light = plate_light()
    options = {"people": ("anna", "bob"), "square": SIDE}
    empty = arranged(profile, light, faces, **options)
    full = arranged(profile, light, two_people, **options)
    assert {name: list(channels(file)) for name, file in empty.items()} == {
        name: list(channels(file)) for name, file in full.items()
    }
    assert {name: file.metadata for name, file in empty.items()} == {name: f.metadata for name, f in full.items()}
    if profile == "patch":
        assert empty[""].data_window == Window(x=7, y=3, width=1, height=1)
        assert not any(values.any() for name, values in channels(empty[""]).items())
    else:
        assert (bits(empty[""].layers[0].pixels) == bits(light.beauty)).all()
    assert empty.keys() == full.keys()
    for name in set(empty) - {""}:
        assert faces is not None or not any(values.any() for values in channels(empty[name]).values())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("people", [(), ("anna", "bob"), ("Ann-Marie É", "left", "3po", "")])
@pytest.mark.parametrize("names", [(), EVERYTHING])
def test_every_file_can_be_written_under_a_name_known_beforehand(tmp_path, profile, people, names):
    layout = FrameLayout(profile, names, people=people, square=SIDE)
    files, _ = layout.arrange(plate_light(), face(10, 12, 50, 40, person=people[0] if people else ""))
    assert set(files) == {"", *layout.siblings}
    for name, file in files.items():
        spec = oiio.ImageInput.open(str(write(file, tmp_path / f"shot_{name}.exr"))).spec()
        assert (spec.x, spec.y, spec.width, spec.height) == (
            file.data_window.x,
            file.data_window.y,
            file.data_window.width,
            file.data_window.height,
        )
        assert (spec.full_x, spec.full_width) == (file.display_window.x, file.display_window.width)


def test_people_share_out_the_matte(two_people):
    found = channels(arranged("layered", plate_light(np.float32), two_people, people=("anna", "bob"))[""])
    anna, bob = found["id_anna.A"], found["id_bob.A"]
    np.testing.assert_allclose(anna + bob, found["matte.A"], atol=1e-6)
    assert ((anna > 0) & (bob > 0)).any()
    coverage = sum(found[f"crypto_face0{layer}.{one}"] for layer in (0, 1) for one in "ga")
    np.testing.assert_allclose(coverage, found["matte.A"], atol=1e-6)
    assert found["crypto_face00.r"].dtype == np.float32
    in_front = np.zeros_like(anna)
    in_front[inside(Window(x=40, y=20, width=44, height=52), DATA)] = face(40, 20, 44, 52, seed=2).matte
    np.testing.assert_allclose(anna, in_front, atol=1e-6)  # the last of the stack is in front


def test_a_single_persons_matte_is_the_matte_bit_for_bit():
    alone = face(10, 12, 50, 40, person="anna")
    found = channels(arranged("layered", plate_light(), alone, people=("anna",))[""])
    assert (bits(found["id_anna.A"]) == bits(found["matte.A"])).all()
    assert (found["crypto_face00.g"] == found["matte.A"]).all()
    assert "st_inverse.R" in found


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_data_survives_half_files_and_lossy_compression(tmp_path, two_people, profile, compression):
    """Ids and maps are 32-bit whatever the beauty is, and arrive bit for bit where compression takes from colours."""
    files = arranged(profile, plate_light(), two_people, people=("anna", "bob"), compression=compression)
    for name, file in files.items():
        written = read_exr_layers(write(file, tmp_path / f"shot_{name}.exr"))
        is_kept = {
            channel: (bits(values) == bits(written[channel])).all() for channel, values in channels(file).items()
        }
        data = [kept for channel, kept in is_kept.items() if (name or channel).startswith(("crypto_face", "st"))]
        assert len(data) == {"layered": 8 + 2 + 4, "patch": 8 + 2, "flat": 0}[profile] or name
        assert all(data) or (compression == "pxr24" and not name)
        assert all(is_kept.values()) or file.compression in ("dwaa", "dwab", "b44", "b44a", "pxr24")


def test_maps_of_several_people_have_files_of_their_own(two_people):
    files = arranged("flat", plate_light(), two_people, names=("st", "st_inverse"), people=("anna", "bob", "cleo"))
    assert list(files)[-3:] == ["st_inverse_anna", "st_inverse_bob", "st_inverse_cleo"]
    maps = {name: files[f"st_inverse_{name}"] for name in ("anna", "bob", "cleo")}
    square = Window(x=0, y=0, width=SIDE, height=SIDE)
    assert all(file.display_window == square for name, file in maps.items() if name != "cleo")
    assert (maps["anna"].data_window, maps["anna"].pixel_aspect) == (square, 1.0)
    s = channels(maps["anna"])["R"]
    assert s.dtype == np.float32
    assert s[0, 0] == pytest.approx((40 + 0.5 * 44 / SIDE - DISPLAY.x) / DISPLAY.width)
    assert (channels(maps["anna"])["B"] == 1).all()
    assert not channels(maps["cleo"])["B"].any()


def test_a_flat_map_tells_where_it_holds(two_people):
    files = arranged("flat", plate_light(), two_people, names=("st",))
    st = channels(files["st"])
    holds = np.zeros((DATA.height, DATA.width), bool)
    holds[inside(two_people.window, DATA)] = two_people.st.any(axis=0)
    assert ((st["B"] == 1) == holds).all()
    assert not st["R"][~holds].any()


def test_a_flat_matte_is_in_all_four_channels(two_people):
    files = arranged("flat", plate_light(), two_people, names=("matte", "id_mattes"), people=("anna", "bob"))
    for name in ("matte", "id_anna", "id_bob"):
        found = channels(files[name])
        assert found["A"].any()
        assert all((found[letter] == found["A"]).all() for letter in "RGB")


def test_the_plates_own_channels_stay_unless_ours_have_the_name(two_people):
    light = plate_light(extra=("normal.X", "id_anna.A", "matte.A", "crypto_face00.r", "Z"))
    files, dropped = FrameLayout("layered", EVERYTHING, people=("anna",)).arrange(light, two_people)
    assert {"normal.X", "depth.Z"} <= set(channels(files[""]))
    assert dropped == ["id_anna.A", "matte.A", "crypto_face00.r"]
    for profile in ("flat", "patch"):
        _, dropped = FrameLayout(profile, ()).arrange(light, two_people)
        assert dropped == ["normal.X", "id_anna.A", "matte.A", "crypto_face00.r", "Z"]


def test_a_face_half_outside_the_plate_is_delivered_where_the_plate_is():
    data = Window(x=20, y=10, width=60, height=50)
    light = plate_light(data=data)
    whole = face(10, 12, 50, 40)
    cut = replace(
        whole,
        window=Window(x=20, y=12, width=40, height=40),
        **{name: getattr(whole, name)[:, 10:] for name in ("swap", "raw", "matte", "learned_source")},
        **{name: getattr(whole, name)[:, 10:] for name in ("learned_target", "hull", "segmentation")},
        st=whole.st[:, :, 10:],
    )
    for profile in PROFILES:
        for file in arranged(profile, light, cut).values():
            assert file.data_window.x >= 0
            assert all(np.isfinite(layer.pixels).all() for layer in file.layers)
    assert arranged("patch", light, cut)[""].data_window.x == 20


def test_light_that_half_cannot_hold_is_its_largest_number():
    bright = replace(face(10, 12, 50, 40), swap=np.full((40, 50, 3), 1e6, np.float32))
    found = channels(arranged("layered", plate_light(), bright)[""])
    assert found["swap.R"].max() == 65504
    assert np.isfinite(rgb(found)).all()


@pytest.mark.parametrize("people", [(), ("anna",), ("anna", "bob")])
def test_every_asked_name_stands_for_layers_of_the_file(people, two_people):
    layout = FrameLayout("layered", EVERYTHING, people=people)
    files, _ = layout.arrange(plate_light(), two_people)
    assert [name for asked in EVERYTHING for name in layout.layers_of(asked)] == [
        layer.name for layer in files[""].layers[1:]
    ]


def test_what_can_be_asked_for():
    assert parse_layers("st_inverse, matte,crypto_face ,swap,matte") == ("swap", "matte", "crypto_face", "st_inverse")
    assert parse_layers("") == ()
    with pytest.raises(InvalidInput, match="id_mattes") as caught:
        parse_layers("mate,stt")
    assert caught.value.details["value"] == "mate,stt"
