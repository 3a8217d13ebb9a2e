"""The setting ``segmenter``: what a mask network sees in the painted face decides where it is shown, to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import SEGMENTER_MODES, MergeSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_plate
from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Window
from dflcore.merge.pipeline import merge_range
from dflcore.merge.tools import open_tools
from dflcore.models import segment_presets
from dflcore.models.checkpoint import SEGMENT_KIND, Generation, ModelDescription, ModelFolder
from dflcore.models.segment_presets import SegmentPreset
from dflcore.train.segmenter import train_segmenter
from dflcore.types import FaceType
from dflcore.weights.store import WeightStore
from mask_training import oval_face, oval_faceset, tiny_preset

BAR = slice(104, 140)
"""Plate rows of a green bar in front of the face, from the left edge to the right one."""
MARGIN_PX = {FaceType.FULL: 5, FaceType.WHOLE: 10}
"""Plate pixels on either side of the bar's edges that the network's square of 64 px does not tell apart."""
EXACT = {"matte_feather": 0.0, "matte_erode": 0.0, "color_transfer": "none", "bit_depth": "float"}


def red_above_green() -> SegmentPreset:
    """A mask network of one pixel's reach: whatever is greener than it is red is no face."""

    def build(_: object) -> nn.Module:
        network = nn.Conv2d(3, 1, 1)
        with torch.no_grad():
            network.weight.copy_(torch.tensor([60.0, -60.0, 0.0]).view(1, 3, 1, 1))
            network.bias.fill_(6.0)
        return network

    tiny = tiny_preset()
    return SegmentPreset(help="colour", network=tiny.network, build=build, recipe=tiny.recipe)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_presets, "xseg_light", red_above_green)


def save_segmenter(
    folder: Path, *, face_type: FaceType = FaceType.FULL, bias: float = 6.0, is_saved: bool = True
) -> Path:
    preset = red_above_green()
    description = ModelDescription(
        preset="xseg-light", network=preset.network.values(), face_type=face_type, kind=SEGMENT_KIND
    )
    model = ModelFolder.open(folder) if folder.exists() else ModelFolder.create(folder, description)
    weights = dict(preset.build(preset.network).state_dict())
    weights["bias"] = torch.tensor([bias])
    if is_saved:
        with model.lock():
            state = {"iteration": 1, "elapsed_s": 1.0}
            model.save(Generation(weights=weights, training={}, history=torch.zeros(0, 2), state=state), keep=2)
    return folder


def merge(shot, name, swapper, recorder, **settings):
    """A merge with the networks its settings name, as a job makes it."""
    chosen = MergeSettings(**{**EXACT, **settings})
    tools = open_tools(chosen, WeightStore(), "cpu")
    with Faceset.open(shot.faceset) as faceset:
        return merge_range(
            shot.plate(),
            swapper,
            faceset,
            str(shot.folder / name / "swap.####.exr"),
            chosen,
            recorder(),
            converter=shot.converter,
            tools=tools,
        )


def frame(shot, name, number=1001):
    return read_exr_layers(shot.folder / name / f"swap.{number}.exr")


def rgb(layers):
    return np.stack([layers[channel] for channel in "RGB"], axis=2)


@pytest.fixture
def barred(make_shot, portrait_linear):
    """The portrait with a green bar across eyes and nose."""
    pixels = portrait_linear.copy()
    pixels[BAR] = (0.05, 0.4, 0.05)
    return make_shot(frames=(1001,), pixels=pixels, dtype=np.float32)


@pytest.mark.parametrize("mode", sorted(SEGMENTER_MODES))
@pytest.mark.parametrize("face_type", [FaceType.FULL, FaceType.WHOLE])
def test_what_is_painted_in_front_of_the_face_is_left_out(barred, fake_swapper, recorder, tmp_path, mode, face_type):
    network = save_segmenter(tmp_path / "masks", face_type=face_type)
    swapper = fake_swapper(tint=(0.9, 0.8, 0.8))
    merge(barred, "plain", swapper, recorder, matte_mode="learned_and_hull")
    merge(barred, "masked", swapper, recorder, matte_mode=mode, segmenter=str(network))
    plain, masked, plate = frame(barred, "plain"), frame(barred, "masked"), read_exr_layers(shot_file(barred))
    margin = MARGIN_PX[face_type]
    bar = np.zeros(plain["matte.A"].shape, bool)
    bar[BAR.start + margin : BAR.stop - margin] = True
    near = np.zeros_like(bar)
    near[BAR.start - margin : BAR.stop + margin] = True
    face = plain["matte.A"] > 0.99
    assert (face & bar).sum() > 300
    assert (masked["matte.A"][bar] == 0.0).all()
    assert rgb(masked)[bar].tobytes() == rgb(plate)[bar].tobytes()
    assert (rgb(plain) != rgb(plate))[face & bar].any(axis=1).mean() > 0.9
    assert np.median(masked["matte.A"][face & ~near]) > 0.95


def shot_file(shot, number=1001):
    return Path(shot.pattern.replace("####", str(number)))


def test_a_frame_without_anything_in_front_keeps_its_face(make_shot, fake_swapper, recorder, tmp_path):
    shot = make_shot(frames=(1001,))
    network = save_segmenter(tmp_path / "masks")
    merge(shot, "plain", fake_swapper(), recorder, matte_mode="learned_both")
    merge(shot, "masked", fake_swapper(), recorder, matte_mode="learned_and_segmentation", segmenter=str(network))
    plain, masked = frame(shot, "plain"), frame(shot, "masked")
    skin = np.minimum(plain["matte_hull.A"], plain["matte.A"]) > 0.99
    assert np.mean(masked["matte.A"][skin] > 0.9) > 0.9
    assert (masked["matte.A"] <= plain["matte.A"] + 1e-3).all()


def test_frames_are_made_again_when_the_mask_network_has_learnt_more(barred, fake_swapper, recorder, tmp_path):
    network = save_segmenter(tmp_path / "masks")
    options = {"matte_mode": "segmentation_both", "segmenter": str(network), "overwrite": True}
    assert merge(barred, "out", fake_swapper(), recorder, **options).frames_written == 1
    assert merge(barred, "out", fake_swapper(), recorder, **options).frames_kept == 1
    save_segmenter(network, bias=9.0)
    assert merge(barred, "out", fake_swapper(), recorder, **options).frames_written == 1


def test_what_is_no_mask_network_is_named(barred, fake_swapper, recorder, tmp_path):
    save_segmenter(tmp_path / "new", is_saved=False)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "model.json").write_text("{not json")
    cases: list[tuple[str, type[DflError], str]] = [
        ("", InvalidInput, "with the setting segmenter"),
        (str(tmp_path / "nowhere"), NotFound, "neither a model's folder nor a segmenter"),
        ("xsegg", NotFound, "known segmenters are hull"),
        ("hull", InvalidInput, "looks at landmarks"),
        (str(tmp_path / "new"), NotFound, "never been saved"),
        (str(tmp_path / "junk"), DflError, "model.json"),
    ]
    for named, error, says in cases:
        with pytest.raises(error, match=says) as caught:
            merge(barred, "out", fake_swapper(), recorder, matte_mode="segmentation_source", segmenter=named)
        assert "\n" not in str(caught.value)
    assert not (barred.folder / "out").exists()


def test_an_override_that_needs_the_network_is_checked_before_the_first_frame(barred, fake_swapper, recorder):
    with pytest.raises(InvalidInput, match="with the setting segmenter"):
        merge(barred, "out", fake_swapper(), recorder, overrides="1001: matte_mode=segmentation_both")
    assert not (barred.folder / "out").exists()


@pytest.mark.slow
def test_a_trained_network_leaves_out_what_it_learnt_to_leave_out(
    make_shot, fake_swapper, recorder, tmp_path, monkeypatch
):
    """From labels to pixels: eight labelled ovals behind a bar, a network trained on them, and a frame it never saw."""
    monkeypatch.setattr(segment_presets, "xseg_light", tiny_preset)
    oval_faceset(tmp_path / "ovals", 8, labelled=8)
    settings = MaskTrainSettings.from_values({"iterations": 300, "device": "cpu", "occluders": 0.2})
    train_segmenter(settings, [tmp_path / "ovals"], tmp_path / "masks")
    shot = make_shot(frames=(1001,), dtype=np.float32)
    aligned_from_plate, truth = put_oval(shot, seed=104)
    merge(
        shot,
        "out",
        fake_swapper(mask=1.0),
        recorder,
        matte_mode="segmentation_source",
        segmenter=str(tmp_path / "masks"),
    )
    y, x = np.mgrid[:240, :320]
    place = np.floor(affine.apply(aligned_from_plate, np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2))).astype(int)
    inside = ((place >= 0) & (place < len(truth))).all(axis=1).reshape(240, 320)
    column, row = np.clip(place, 0, len(truth) - 1).T.reshape(2, 240, 320)
    wanted = truth[row, column] & inside
    found = frame(shot, "out")["matte.A"] > 0.5
    assert (found & wanted).sum() / (found | wanted).sum() > 0.85


def put_oval(shot, seed):
    """An oval with a bar in front of it in the plate, where the shot's face is; its transform, and its mask."""
    with Faceset.open(shot.faceset) as faceset:
        record = faceset.record("f_1001_0.png")
    image, _, truth = oval_face(seed)
    light = ColorConverter().convert(image.astype(np.float32) / 255.0, "srgb_tx", "ACEScg")
    planes = torch.from_numpy(np.ascontiguousarray(light)).permute(2, 0, 1).contiguous()
    window = Window(x=0, y=0, width=320, height=240)
    drawn = warp_to_plate(planes, record.aligned_from_plate, (0, 0, 320, 240), padding="border").permute(1, 2, 0)
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=np.ascontiguousarray(drawn.numpy()), pixel_type="float")
    write_exr(shot_file(shot), layers=[layer], data_window=window, display_window=window, color_space="ACEScg")
    return record.aligned_from_plate, truth
