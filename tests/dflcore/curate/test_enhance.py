from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dflcore.curate.enhance import enhance_faceset
from dflcore.errors import Conflict, InvalidInput
from dflcore.io.aligned_image import write_aligned
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.progress import StopRequest
from small_facesets import Watcher, make_image, make_record, noise_faceset, write_faceset


class Brighter:
    """Twice as large and a tenth brighter."""

    scale = 2

    def enhance(self, faces: np.ndarray) -> np.ndarray:
        assert faces.dtype == np.float32
        assert 0.0 <= faces.min() <= faces.max() <= 1.0
        return np.clip(faces + np.float32(0.1), 0, 1).repeat(2, axis=1).repeat(2, axis=2)


def enhance(source: Path, output: Path, control: Watcher | None = None, strength: float = 1.0) -> object:
    return enhance_faceset(
        source, output, control or Watcher(), enhancer=Brighter(), enhancer_name="brighter", strength=strength
    )


@pytest.mark.parametrize(("strength", "brighter"), [(0.0, 0.0), (0.5, 12.75), (1.0, 25.5)])
def test_strength_goes_from_the_face_as_it_was_to_the_enhanced_one(
    tmp_path: Path, strength: float, brighter: float
) -> None:
    flat = np.full((64, 64, 3), 100, np.uint8)
    source = write_faceset(tmp_path / "faces of Zoë", [(make_record(1), flat)])
    result = enhance(source, tmp_path / "b", strength=strength)
    assert (result.faces, result.left_out, result.stopped) == (1, 0, None)
    with Faceset.open(tmp_path / "b") as faceset:
        np.testing.assert_allclose(faceset.read_image(faceset.names[0]), 100 + brighter, atol=0.51)


def test_strength_zero_gives_the_same_pixels(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 2)
    enhance(source, tmp_path / "b", strength=0.0)
    with Faceset.open(tmp_path / "b") as faceset:
        np.testing.assert_array_equal(faceset.read_image("shot_000002_0.png"), make_image(2))


def test_records_masks_and_labels_are_copied(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 1)
    name = "shot_000001_0.png"
    label = Label((Polygon(False, ((1.0, 2.0), (3.0, 40.0), (50.0, 6.0))),))
    with MaskStore.open(source, create=True) as store:
        store.add_mask(name, "xseg", np.random.default_rng(0).uniform(size=(48, 48)).astype(np.float32), made_by="x")
        wanted = store.mask(name, "xseg")
        store.set_label(name, label, made_by="x")
    enhance(source, tmp_path / "b")
    with MaskStore.open(tmp_path / "b") as store:
        np.testing.assert_array_equal(store.mask(name, "xseg"), wanted)
        assert store.label(name) == label
    bare: dict[str, object] = {"landmarks": None, "identity": None, "aligned_from_plate": None, "sharpness": 0.0}
    with Faceset.open(source) as before, Faceset.open(tmp_path / "b") as after:
        assert replace(after.record(name), **bare) == replace(before.record(name), **bare)
        np.testing.assert_array_equal(after.record(name).aligned_from_plate, before.record(name).aligned_from_plate)


def test_light_above_one_is_kept(tmp_path: Path) -> None:
    record = make_record(1, name="light.exr")
    source = write_faceset(tmp_path / "a", [(record, None)])  # type: ignore[list-item]
    face = np.full((64, 64, 3), 0.5, np.float32)
    face[:32] = 2.0
    write_aligned(source / "light.exr", face, "exr")
    enhance(source, tmp_path / "b")
    with Faceset.open(tmp_path / "b") as faceset:
        got = faceset.read_float("light.exr")
    np.testing.assert_allclose(got[:28], 2.0, rtol=2e-3)
    np.testing.assert_allclose(got[40:], 0.6, rtol=2e-3)


def test_stopped_it_goes_on_with_the_same_strength_and_begins_anew_with_another(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 3)
    output = tmp_path / "b"
    assert enhance(source, output, Watcher(stop_after=2)).stopped is StopRequest.CANCEL
    assert not output.exists()
    before = (tmp_path / "b.unfinished" / "shot_000001_0.png").stat().st_mtime_ns
    assert enhance(source, output, Watcher(stop_after=2)).stopped is StopRequest.CANCEL
    assert (tmp_path / "b.unfinished" / "shot_000001_0.png").stat().st_mtime_ns == before
    assert enhance(source, output, strength=0.0).faces == 3
    with Faceset.open(output) as faceset:
        np.testing.assert_array_equal(faceset.read_image("shot_000001_0.png"), make_image(1))


def test_refusals(tmp_path: Path) -> None:
    source = noise_faceset(tmp_path / "a", 1)
    with pytest.raises(InvalidInput, match="0 to 1"):
        enhance(source, tmp_path / "b", strength=1.5)
    with pytest.raises(Conflict, match="exists already"):
        enhance(source, source)
