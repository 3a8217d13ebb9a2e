"""Layers for compositors through a whole merge: files and headers of every profile, and who is painted by whom."""

import contextlib
import json
import sqlite3

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.config.cast_text import parse_casting
from dflcore.config.merge import MergeSettings
from dflcore.errors import InvalidInput
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import INDEX_NAME, Faceset
from dflcore.merge.casting import Cast
from dflcore.merge.cryptomatte import name_id
from dflcore.merge.pipeline import merge_range

FACES = ((0.0, 0.0), (46.0, 12.0))
ALL = MergeSettings().layers + ",crypto_face,id_mattes,st_inverse"
TINTS = {"/red": (1.0, 0.2, 0.2), "/blue": (0.2, 0.2, 1.0)}
PEOPLE = "anna: track 3 = /red; track 5 = /blue"


@pytest.fixture
def merge(fake_swapper, recorder):
    """Merge a shot whose faces are tracks 3 and 5; a cast's folders are stand-ins that tint."""

    def run(shot, output, *, cast="", **settings):
        with contextlib.closing(sqlite3.connect(shot.faceset / INDEX_NAME)) as index, index:
            index.execute("UPDATE face SET track_id = 3 + 2 * face_index")
        own = fake_swapper(tint=(1.0, 0.6, 0.6))
        casting = parse_casting(cast)
        opened = Cast(casting, own, lambda part: fake_swapper(tint=TINTS[part.model], digest=part.model, resolution=96))
        with Faceset.open(shot.faceset) as faceset:
            return merge_range(
                shot.plate(),
                own,
                faceset,
                str(shot.folder / output / "swap.####.exr"),
                MergeSettings(cast=cast, **settings),
                recorder(),
                converter=shot.converter,
                cast=opened,
            )

    return run


def read(shot, output, sibling="", frame=1001):
    return read_exr_layers(shot.folder / output / f"swap{sibling}.{frame}.exr")


def rgb(found, prefix=""):
    return np.stack([found[f"{prefix}{letter}"] for letter in "RGB"], axis=2).astype(np.float64)


def test_a_model_for_each_track_in_one_pass(make_shot, merge):
    shot = make_shot(frames=(1001,), faces=FACES)
    merge(shot, "both", cast=PEOPLE, color_transfer="none", layers=ALL)
    found = read(shot, "both")
    anna, bob = found["id_anna.A"], found["id_track_5.A"]
    assert anna.max() == 1
    assert bob.max() == 1
    swap = rgb(found, "swap.")
    assert (swap[anna == 1][:, 0] > 1.5 * swap[anna == 1][:, 2]).mean() > 0.95
    assert (swap[bob == 1][:, 2] > swap[bob == 1][:, 0]).mean() > 0.8  # an orange suit stays orange
    np.testing.assert_allclose(anna.astype(float) + bob, found["matte.A"], atol=2e-3)
    assert set(np.unique(found["crypto_face00.r"])) == {0.0, name_id("anna"), name_id("track_5")}


def test_faces_left_out_stay_as_they_were_shot(make_shot, merge):
    shot = make_shot(frames=(1001,), faces=FACES)
    merge(shot, "one", cast="track 5 = /blue; others = plate", layers="matte,id_mattes")
    merge(shot, "all", cast="others = plate", layers="matte,id_mattes,crypto_face")
    one, nobody = read(shot, "one"), read(shot, "all")
    assert [name for name in one if name.startswith("id_")] == ["id_track_5.A"]
    assert (one["id_track_5.A"] == one["matte.A"]).all()
    plate = read_exr_layers(shot.folder / "plate/shot.1001.exr")
    assert not nobody["matte.A"].any()
    assert all((nobody[letter] == plate[letter]).all() for letter in "RGB")


def test_a_track_the_plate_does_not_have(make_shot, merge):
    with pytest.raises(InvalidInput, match=r"3 \(frames 1001\), 5 \(frames 1001\)"):
        merge(make_shot(frames=(1001,), faces=FACES), "out", cast="track 4 = /red")


def test_another_cast_is_another_frame(make_shot, merge):
    shot = make_shot(frames=(1001,), faces=FACES)
    assert merge(shot, "out", cast=PEOPLE).frames_written == 1
    assert merge(shot, "out", cast=PEOPLE).frames_kept == 1
    assert merge(shot, "out", cast="track 3 = /blue", overwrite=True).frames_written == 1


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_the_small_patch_over_the_plate_is_the_beauty(make_shot, merge, portrait_linear, alpha):
    height, width = portrait_linear.shape[:2]
    options = {} if alpha is None else {"alpha": np.full((height, width), alpha, np.float32)}
    shot = make_shot(
        frames=(1001, 1002), face_frames=(1001,), faces=FACES, overscan=12, display_origin=(7, 3), **options
    )
    merge(shot, "layered", cast=PEOPLE, layers="matte")
    merge(shot, "patch", cast=PEOPLE, layers=ALL, profile="patch")
    spec = oiio.ImageInput.open(str(shot.folder / "patch/swap.1001.exr")).spec()
    whole = oiio.ImageInput.open(str(shot.folder / "layered/swap.1001.exr")).spec()
    assert (spec.full_x, spec.full_y, spec.full_width) == (7, 3, width)
    assert spec.width * spec.height < 0.5 * whole.width * whole.height
    patch, beauty = read(shot, "patch"), read(shot, "layered")
    plate = rgb(read_exr_layers(shot.folder / "plate/shot.1001.exr"))
    top, left = spec.y - whole.y, spec.x - whole.x
    over = plate.copy()
    part = over[top : top + spec.height, left : left + spec.width]
    part[:] = rgb(patch) + part * (1 - patch["A"].astype(np.float64)[..., None])
    np.testing.assert_allclose(over, rgb(beauty), rtol=2e-3, atol=1e-5)
    empty = oiio.ImageInput.open(str(shot.folder / "patch/swap.1002.exr")).spec()
    assert (empty.x, empty.y, empty.width, empty.height) == (7, 3, 1, 1)
    assert empty.channelnames == spec.channelnames
    assert empty.get_int_attribute("dfl/synthetic") == 1
    assert not any(values.any() for values in read(shot, "patch", frame=1002).values())
    small = (shot.folder / "patch/swap.1001.exr").stat().st_size
    assert small < (shot.folder / "layered/swap.1001.exr").stat().st_size


def test_the_manifest_names_everybody_of_the_plate_in_every_frame(make_shot, merge):
    shot = make_shot(frames=(1001, 1002), face_frames=(1002,), faces=FACES)
    merge(shot, "out", cast=PEOPLE, layers="crypto_face,id_mattes", provenance_attributes="off")
    for frame in (1001, 1002):
        attributes = oiio.ImageInput.open(str(shot.folder / f"out/swap.{frame}.exr")).spec().extra_attribs
        (manifest,) = (one.value for one in attributes if one.name.endswith("/manifest"))
        assert set(json.loads(manifest)) == {"anna", "track_5"}
        assert {"id_anna.A", "id_track_5.A"} <= set(read(shot, "out", frame=frame))


@pytest.mark.parametrize("face_scale", [0.0, 20.0])
def test_the_files_own_maps_lead_into_the_square_and_back(make_shot, merge, face_scale):
    """Plate pixels' coordinates through st_inverse and st, as a host does it, within a twentieth of a pixel."""
    shot = make_shot(frames=(1001,), overscan=12, display_origin=(7, 3), squeeze=2, pixel_aspect=2.0)
    merge(shot, "flat", layers="st,st_inverse", profile="flat", face_scale=face_scale)
    st, inverse = read(shot, "flat", "_st"), read(shot, "flat", "_st_inverse")
    assert inverse["R"].shape == (64, 64)
    height, width = st["R"].shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    plate = np.stack([columns, rows], axis=2)  # of the data window, pixel centres at whole numbers
    x = inverse["R"].astype(np.float64) * 160 + 12 - 0.5
    y = (1 - inverse["G"].astype(np.float64)) * 240 + 12 - 0.5
    back = bilinear(bilinear(plate, x, y), st["R"] * 64.0 - 0.5, (1.0 - st["G"]) * 64.0 - 0.5)
    inside = (np.abs(st["R"] - 0.5) < 0.49) & (np.abs(st["G"] - 0.5) < 0.49) & (st["B"] == 1)
    assert inside.sum() > 3000
    assert np.abs(back - plate)[inside].max() < 0.05


def bilinear(source, x, y):
    x, y = np.clip(x, 0, source.shape[1] - 1), np.clip(y, 0, source.shape[0] - 1)
    left, top = np.minimum(x.astype(int), source.shape[1] - 2), np.minimum(y.astype(int), source.shape[0] - 2)
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper = source[top, left] * (1 - u) + source[top, left + 1] * u
    return upper * (1 - v) + (source[top + 1, left] * (1 - u) + source[top + 1, left + 1] * u) * v
