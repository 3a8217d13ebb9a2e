"""Single frames are the range's frames, whatever was kept warm; parts and sizes of them; what is refused."""

import datetime
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dflcore.config.merge import MergeSettings
from dflcore.errors import Cancelled, Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.exr import ExrLayer, read_exr_layers
from dflcore.io.plate import Window
from dflcore.io.png import png_text
from dflcore.io.stills import read_still
from dflcore.merge import warm_inputs
from dflcore.merge.frame import FrameRequest, WarmFrames, check_output
from dflcore.types import Authorization
from frame_shot import NOBODY, FrameShot, make_frame_shot, save_model, write_plate

ALLOWED = Authorization(person="Ada", reference="R-1")
ALL = ("beauty", *MergeSettings().layers.split(","))


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    """Nobody changes it."""
    return make_frame_shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture
def own_shot(tmp_path, shot: FrameShot) -> FrameShot:
    """A copy to be changed; its plate has another name, and is the only one of its faceset."""
    shutil.copytree(shot.folder, tmp_path / "own")
    return FrameShot(tmp_path / "own")


@pytest.fixture
def frames():
    warm = WarmFrames(lambda path, digest: ALLOWED, cache_bytes=64 << 20)
    yield warm
    warm.close()


def ask(shot: FrameShot, frame: int = 1001, *, settings: dict | None = None, **fields) -> FrameRequest:
    chosen = MergeSettings(**(settings or {}))
    return FrameRequest(
        plate=shot.plate, frame=frame, model=shot.model, faceset=shot.faceset, settings=chosen, **fields
    )


def pixels_of(rendered) -> dict[str, np.ndarray]:
    """Channel name as in a file → (H, W)."""
    return {
        name: layer.pixels[..., index] for layer in rendered.layers for index, name in enumerate(layer.channel_names)
    }


def assert_equal_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert np.array_equal(found[name], values, equal_nan=True), name


LOOKS = [
    {},
    {"matte_erode": 4.0, "matte_feather": 11.0, "opacity": 0.5},
    {"color_transfer": "none", "matte_mode": "hull", "face_scale": 9.0},
    {"bit_depth": "float", "provenance_attributes": "full"},
    {"mode": "seamless_histogram", "sharpen": 40.0, "grain": 50.0},
    {"mode": "raw_rgb", "color_degrade": 30.0},
    {"mode": "raw_predict"},
    {"mode": "original"},
    {"smooth_matte": 2, "smooth_colors": 2, "smooth_landmarks": 3, "color_transfer": "mkl", "motion_blur": 1.0},
    {"overrides": "1002: opacity=0.3 mode=seamless; 1001-1003: matte_erode=0>4"},
    {"compression": "dwaa", "layers": "matte,st"},
]


@pytest.mark.parametrize("look", LOOKS)
def test_a_frame_is_the_ranges_frame_bit_for_bit(shot: FrameShot, frames: WarmFrames, tmp_path, look: dict) -> None:
    merged = (1001, 1002, NOBODY)
    shot.merge(tmp_path / "range.####.exr", merged, **look)
    for number in (*merged, 1001):  # the last with everything warm
        names = ("beauty", *MergeSettings(**look).layers.split(","))
        rendered = frames.render(ask(shot, number, settings=look, layers=names, for_file=True))
        assert rendered.face_count == (number != NOBODY)
        settings = MergeSettings(**look)
        rendered.write_exr(tmp_path / "one.exr", settings.compression, settings.dwa_level)
        assert_equal_bits(read_exr_layers(tmp_path / "one.exr"), read_exr_layers(tmp_path / f"range.{number}.exr"))
        one, range_frame = read_still(tmp_path / "one.exr"), read_still(tmp_path / f"range.{number}.exr")
        assert {name: one.value for name, one in one.metadata.items() if name != "DateTime"} == {
            name: one.value for name, one in range_frame.metadata.items() if name != "DateTime"
        }
        assert (one.data_window, one.display_window) == (range_frame.data_window, range_frame.display_window)


def test_turning_knobs_leaves_no_trace(shot: FrameShot, frames: WarmFrames) -> None:
    """Whatever was looked at in between: the same look is the same picture, and that of a process just started."""
    first = [pixels_of(frames.render(ask(shot, settings=look, layers=("beauty", "raw")))) for look in LOOKS[:6]]
    again = [pixels_of(frames.render(ask(shot, settings=look, layers=("beauty", "raw")))) for look in LOOKS[:6]]
    for look, one, other in zip(LOOKS, first, again, strict=False):
        fresh = WarmFrames(lambda path, digest: ALLOWED, cache_bytes=0)
        expected = pixels_of(fresh.render(ask(shot, settings=look, layers=("beauty", "raw"))))
        fresh.close()
        assert_equal_bits(one, expected)
        assert_equal_bits(other, expected)


def test_a_layer_the_settings_do_not_name(shot: FrameShot, frames: WarmFrames) -> None:
    expected = pixels_of(frames.render(ask(shot, layers=("raw", "swap"))))
    found = pixels_of(frames.render(ask(shot, settings={"layers": ""}, layers=("raw", "swap"))))
    assert_equal_bits(found, expected)
    assert not np.array_equal(found["raw.R"], found["swap.R"])


def test_the_key_is_the_manifests(shot: FrameShot, frames: WarmFrames, tmp_path) -> None:
    from dflcore.merge.provenance import manifest_path, read_manifest

    shot.merge(tmp_path / "range.####.exr", (1001, NOBODY), opacity=0.25)
    known = read_manifest(manifest_path(tmp_path, "range")).frames
    for number in (1001, NOBODY):
        assert frames.render(ask(shot, number, settings={"opacity": 0.25})).key == known[number].key


def test_a_frame_without_a_face_is_the_plate(shot: FrameShot, frames: WarmFrames) -> None:
    rendered = frames.render(ask(shot, NOBODY, layers=("beauty", "matte", "st"), region="faces"))
    plate = read_still(shot.file(NOBODY)).pixels
    beauty, matte, st = rendered.layers
    assert rendered.face_count == 0
    assert np.array_equal(beauty.pixels[..., :3], plate)
    assert not matte.pixels.any()
    assert not st.pixels.any()


def test_only_what_reaches_the_network_makes_it_run(shot: FrameShot, frames: WarmFrames) -> None:
    runs = []
    for look in ({}, {"opacity": 0.3}, {"matte_erode": 2.0, "color_transfer": "none"}, {"layers": "matte"}):
        runs.append(not frames.render(ask(shot, settings=look)).network_reused)
    runs.append(not frames.render(ask(shot, 1002)).network_reused)
    runs.append(not frames.render(ask(shot, 1001)).network_reused)
    runs.append(not frames.render(ask(shot, settings={"identity": "target"})).network_reused)
    runs.append(not frames.render(ask(shot, settings={"input_colorspace": "srgb_tx"})).network_reused)
    assert runs == [True, False, False, False, True, False, True, True]


def test_what_changes_on_disk_is_noticed(own_shot: FrameShot, frames: WarmFrames) -> None:
    def beauty(frame: int = 1001) -> np.ndarray:
        return frames.render(ask(own_shot, frame)).layers[0].pixels.copy()

    first = beauty()
    save_model(own_shot.model, seed=2)
    retrained = beauty()
    assert not np.array_equal(first, retrained)
    write_plate(own_shot, 1001, gain=0.5)
    assert beauty()[..., :3].mean() < 0.6 * retrained[..., :3].mean()
    assert frames.render(ask(own_shot, 1002)).face_count == 1
    next(own_shot.faceset.glob("*1002*")).unlink()
    assert frames.render(ask(own_shot, 1002)).face_count == 0
    with pytest.raises(NotFound, match="1005"):
        frames.render(ask(own_shot, 1005))
    shutil.copy(own_shot.file(NOBODY), own_shot.file(1005))
    assert frames.render(ask(own_shot, 1005)).face_count == 0


def test_a_part_is_cut_from_the_whole(shot: FrameShot, frames: WarmFrames) -> None:
    whole = pixels_of(frames.render(ask(shot, layers=ALL)))
    part = frames.render(ask(shot, layers=ALL, region=Window(x=150, y=60, width=333, height=55)))
    assert part.data_window == Window(x=150, y=60, width=250, height=55), "cut off at the plate's edge"
    assert part.display_window == Window(x=0, y=0, width=400, height=300)
    assert_equal_bits(pixels_of(part), {name: values[60:115, 150:400] for name, values in whole.items()})
    faces = frames.render(ask(shot, layers=("st", "beauty"), region="faces"))
    window = faces.data_window
    rows, columns = slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
    assert np.array_equal(faces.layers[1].pixels, np.stack([whole[one] for one in "RGBA"], axis=2)[rows, columns])
    outside = whole["st.R"].copy()
    outside[rows, columns] = 0.0
    assert not outside.any(), "no face reaches beyond it"
    assert whole["st.R"][rows, columns].any(axis=0).mean() > 0.98, "and it is no larger than the faces"


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_a_proxy_is_the_mean_of_the_full_result(shot: FrameShot, frames: WarmFrames, reduction: int) -> None:
    names = ("beauty", "matte", "swap")
    full = frames.render(ask(shot, settings={"bit_depth": "float"}, layers=names))
    proxy = frames.render(ask(shot, settings={"bit_depth": "float"}, layers=names, reduction=reduction))
    assert proxy.reduction == reduction
    height, width = -(-300 // reduction), -(-400 // reduction)
    assert proxy.data_window == proxy.display_window == Window(x=0, y=0, width=width, height=height)
    whole_rows, whole_columns = 300 // reduction, 400 // reduction
    for of_full, of_proxy in zip(full.layers[:2], proxy.layers[:2], strict=True):
        cut = of_full.pixels[: whole_rows * reduction, : whole_columns * reduction]
        blocks = cut.reshape(whole_rows, reduction, whole_columns, reduction, -1)
        np.testing.assert_allclose(
            of_proxy.pixels[:whole_rows, :whole_columns], blocks.mean((1, 3)), rtol=1e-5, atol=1e-5
        )
    swap, inside = proxy.layers[2].pixels, proxy.layers[1].pixels[..., 0] > 0
    assert swap[inside].min() > 0.25 * full.layers[2].pixels[full.layers[1].pixels[..., 0] > 0].min(), "no dark rim"


def test_a_longest_side(shot: FrameShot, frames: WarmFrames) -> None:
    def size(**fields) -> tuple[int, int, int]:
        window = frames.render(ask(shot, **fields)).data_window
        return window.width, window.height, frames.render(ask(shot, **fields)).reduction

    assert size(max_side=400) == (400, 300, 1)
    assert size(max_side=399) == (200, 150, 2)
    assert size(max_side=150) == (134, 100, 3)
    assert size(reduction=2, max_side=150) == (100, 75, 4)
    assert size(max_side=50, region=Window(x=7, y=9, width=90, height=20)) == (46, 11, 2)
    assert max(size(max_side=1)) == 1 or max(size(max_side=1)[:2]) <= 2


def test_a_part_of_a_proxy_lies_on_the_proxys_grid(shot: FrameShot, frames: WarmFrames) -> None:
    proxy = pixels_of(frames.render(ask(shot, reduction=4, layers=ALL)))
    part = frames.render(ask(shot, reduction=4, layers=ALL, region=Window(x=121, y=63, width=50, height=40)))
    assert part.data_window == Window(x=30, y=15, width=13, height=11)
    assert_equal_bits(pixels_of(part), {name: values[15:26, 30:43] for name, values in proxy.items()})


def test_a_png_for_a_screen(shot: FrameShot, frames: WarmFrames) -> None:
    import cv2

    rendered = frames.render(ask(shot, reduction=2))
    data = rendered.png()
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    expected = rendered.converter.to_network(rendered.layers[0].pixels[..., :3], rendered.light.color_space)
    assert np.abs(shown / 255.0 - expected.clip(0, 1)).max() < 0.5 / 255 + 1e-6
    assert shown.max() == 255, "light above 1 is white"
    text = png_text(data)
    assert text["dfl/synthetic"] == "1"
    assert "compositeWithTrainedAlgorithmicMedia" in text["dfl/digitalSourceType"]
    assert text["dfl/reduction"] == "2"
    matte = frames.render(ask(shot, layers=("matte",)))
    gray = cv2.imdecode(np.frombuffer(matte.png(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert gray.shape == (300, 400)
    assert np.abs(gray / 255.0 - matte.layers[0].pixels[..., 0]).max() < 0.5 / 255 + 1e-6
    assert png_text(frames.render(ask(shot, settings={"provenance_attributes": "off"})).png()) == {}
    with pytest.raises(InvalidInput, match="one layer"):
        frames.render(ask(shot, layers=("beauty", "matte"))).png()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layers": ("beauty", "depth")}, "Unknown layer depth"),
        ({"layers": ()}, "No layer"),
        ({"reduction": 0}, "reduction"),
        ({"reduction": 17}, "reduction"),
        ({"max_side": -1}, "max_side"),
        ({"region": Window(x=400, y=0, width=5, height=5)}, "outside the plate"),
        ({"region": Window(x=0, y=0, width=0, height=5)}, "empty"),
        ({"settings": {"identity": "source9"}}, "source9"),
        ({"settings": {"input_colorspace": "nonsense"}}, "nonsense"),
    ],
)
def test_what_cannot_be(shot: FrameShot, frames: WarmFrames, fields: dict, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        frames.render(ask(shot, **fields))
    assert frames.render(ask(shot)).face_count == 1, "and nothing is broken by it"


def test_what_is_not_there(shot: FrameShot, frames: WarmFrames, tmp_path) -> None:
    request = ask(shot)
    for changes in ({"model": tmp_path / "m"}, {"faceset": tmp_path / "f"}, {"plate": str(tmp_path / "p.####.exr")}):
        with pytest.raises(NotFound):
            frames.render(FrameRequest(**{**as_fields(request), **changes}))


def as_fields(request: FrameRequest) -> dict:
    return {name: getattr(request, name) for name in request.__dataclass_fields__}


def test_a_garbage_model(own_shot: FrameShot, frames: WarmFrames) -> None:
    assert frames.render(ask(own_shot)).face_count == 1
    for weights in own_shot.model.rglob("weights.safetensors"):
        weights.write_bytes(b"\x80\x04garbage" * 100)
    next(own_shot.model.rglob("manifest.json")).touch()
    with pytest.raises(DataCorrupt):
        frames.render(ask(own_shot))
    (own_shot.model / "model.json").write_text('{"preset": 1}')
    with pytest.raises(DataCorrupt):
        frames.render(ask(own_shot))


def test_a_permission_that_has_ended(shot: FrameShot) -> None:
    yesterday = datetime.date.today() - datetime.timedelta(days=2)
    asked = []

    def render(record: Authorization):
        warm = WarmFrames(lambda path, digest: asked.append((path, digest)) or record, cache_bytes=0)
        try:
            return warm.render(ask(shot))
        finally:
            warm.close()

    with pytest.raises(InvalidInput, match="permission") as caught:
        render(Authorization(person="Ada", until=yesterday.isoformat()))
    assert caught.value.reason == "AUTHORIZATION_EXPIRED"
    assert "AUTHORIZATION_MISSING" in [notice.reason for notice in render(Authorization()).notices]
    assert {path for path, _ in asked} == {shot.model}
    assert all(len(digest) == 64 for _, digest in asked)


def test_work_nobody_wants_ends_at_the_next_step(shot: FrameShot, frames: WarmFrames) -> None:
    asked = []

    def check() -> None:
        asked.append(None)
        if len(asked) == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        frames.render(ask(shot), check)
    assert len(asked) == 5
    frames.render(ask(shot), lambda: asked.append(None))
    assert len(asked) > 15, "steps are small"


def test_files_are_not_written_over(shot: FrameShot, frames: WarmFrames, tmp_path) -> None:
    rendered = frames.render(ask(shot))
    check_output(tmp_path / "new.exr", ask(shot), rendered)
    (tmp_path / "old.exr").write_bytes(b"somebody's")
    with pytest.raises(Conflict, match="overwriting"):
        check_output(tmp_path / "old.exr", ask(shot), rendered)
    check_output(tmp_path / "old.exr", ask(shot, settings={"overwrite": True}), rendered)
    (tmp_path / "link.exr").symlink_to(shot.file(1001))
    for path in (shot.file(1001), tmp_path / "link.exr"):
        with pytest.raises(InvalidInput, match="plate's own"):
            check_output(path, ask(shot, settings={"overwrite": True}), rendered)


def test_little_memory_changes_nothing(shot: FrameShot, frames: WarmFrames) -> None:
    poor = WarmFrames(lambda path, digest: ALLOWED, cache_bytes=0)
    for _ in range(2):
        poor_pixels = poor.render(ask(shot, layers=ALL))
    poor.close()
    assert_equal_bits(pixels_of(poor_pixels), pixels_of(frames.render(ask(shot, layers=ALL))))
    torch.manual_seed(3)  # nothing random is drawn
    assert_equal_bits(pixels_of(poor_pixels), pixels_of(frames.render(ask(shot, layers=ALL))))


@pytest.fixture
def odd(make_shot, fake_swapper, monkeypatch, portrait_linear):
    """Frames of a plate with overscan, a shifted display window, alpha, depth and two faces."""

    class Painter(fake_swapper):
        def painting(self, identity, morph):
            return self

    height, width = portrait_linear.shape[:2]
    alpha = np.full((height, width), 0.75, np.float32)
    depth = np.arange((height + 14) * (width + 14), dtype=np.float32).reshape(height + 14, width + 14, 1)
    shot = make_shot(
        (1001,),
        alpha=alpha,
        overscan=7,
        display_origin=(5, -3),
        faces=((0.0, 0.0), (-60.0, 10.0)),
        extra=(ExrLayer(name="depth", channels=("Z",), pixels=depth, pixel_type="float"),),
    )
    painter = Painter(tint=(1.0, 0.6, 0.6))
    monkeypatch.setattr(warm_inputs, "open_swapper", lambda path, device: (painter, []))
    return shot, painter


def test_odd_plates_too(odd, frames: WarmFrames, tmp_path) -> None:
    shot, painter = odd
    shot.merge(swapper=painter)
    expected = read_exr_layers(tmp_path / "out" / "swap.1001.exr")
    request = FrameRequest(
        plate=shot.pattern,
        frame=1001,
        model=tmp_path / "model",
        faceset=shot.faceset,
        settings=MergeSettings(),
        layers=ALL,
        for_file=True,
    )
    whole = frames.render(request)
    assert whole.face_count == 2
    assert_equal_bits(pixels_of(whole), expected)
    assert "depth.Z" in expected
    part = frames.render(replace(request, region=Window(x=-50, y=10, width=60, height=20)))
    assert part.data_window == Window(x=-2, y=7, width=17, height=20), "from the display window's corner"
    assert_equal_bits(pixels_of(part), {name: values[17:37, :17] for name, values in expected.items()})
    proxy = frames.render(replace(request, reduction=4, layers=("beauty",)))
    assert proxy.display_window == Window(x=1, y=-1, width=80, height=60)
    assert proxy.data_window == Window(x=-1, y=-3, width=84, height=64)
    inner = np.stack([expected[name] for name in "RGBA"], axis=2)[7:-7, 7:-7].astype(np.float32)
    means = inner.reshape(60, 4, 80, 4, 4).mean((1, 3))
    np.testing.assert_allclose(proxy.layers[0].pixels[2:62, 2:82], means, rtol=2e-3, atol=1e-3)


def test_ids_are_picked_and_people_have_layers(odd, frames: WarmFrames, tmp_path) -> None:
    shot, _ = odd
    request = FrameRequest(
        plate=shot.pattern,
        frame=1001,
        model=tmp_path / "model",
        faceset=shot.faceset,
        settings=MergeSettings(),
        layers=("crypto_face", "id_mattes", "st_inverse", "beauty"),
    )
    whole, proxy = frames.render(request), frames.render(replace(request, reduction=3))
    assert whole.layers[-1].name == ""
    assert any(name.startswith("cryptomatte/") for name in whole.attributes)
    ids = {name: values for name, values in pixels_of(whole).items() if name.startswith("crypto_face00")}
    small = pixels_of(proxy)
    assert ids
    for name, values in ids.items():
        assert set(np.unique(small[name].view(np.uint32))) <= set(np.unique(values.view(np.uint32)))
