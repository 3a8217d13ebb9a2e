"""Masks stored in a faceset reach training; facesets without any train as they always have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.geometry import affine
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.io.masks import MaskStore
from dflcore.models.registry import load_preset
from dflcore.train.batches import BatchMakers
from dflcore.train.dataset import FaceDecoder, FacePool
from dflcore.types import FaceType

ALIGNED = 64
RESOLUTION, MARGIN = 32, 1.25
HOLE = (slice(24, 40), slice(28, 44))
"""Aligned pixels in the middle of the face."""
RECIPE = MaskRecipe.parse(TrainSettings().masks)


@pytest.fixture
def faces(source: Any, tmp_path: Path) -> Any:
    """Twelve faces in a folder that may get masks."""

    class Stored(type(source)):  # type: ignore[misc]
        @property
        def info(self) -> Any:
            return replace(super().info, path=str(tmp_path))

    return Stored(12, (200, 120, 90))


def painted() -> np.ndarray:
    mask = np.ones((ALIGNED, ALIGNED), np.float32)
    mask[HOLE] = 0.0
    return mask


def decoder(faces: Any, recipe: MaskRecipe | None = RECIPE, margin: float = MARGIN) -> FaceDecoder:
    return FaceDecoder(faces, FaceType.FULL, RESOLUTION, margin, recipe)


def test_training_sees_the_painted_hole_where_the_face_shows_it(faces: Any, tmp_path: Path) -> None:
    with MaskStore.open(tmp_path, create=True) as store:
        store.add_mask(faces.names[3], "xseg", painted(), made_by="test")
    made = decoder(faces)
    mask = made.decode(faces.names[3])[3].float() / 255
    border = (made.stored_size - RESOLUTION) // 2  # the model's square lies in the middle of what is stored
    middle = mask[border : border + RESOLUTION, border : border + RESOLUTION]
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(painted())[None], 2)[0]
    assert (middle - expected).abs().max() < 0.16  # the blur before shrinking, at the hole's edge
    assert (middle[13:19, 15:21] == 0).all()
    assert (middle[:10] > 0.99).all()
    made.close()


def test_the_mask_moves_with_a_corrected_square(faces: Any, tmp_path: Path) -> None:
    """A person moved the square after the mask was made: mask and picture go through the same transform."""
    name = faces.names[0]
    record = faces.record(name)
    moved = replace(record, aligned_from_plate=affine.compose(affine.shift(6.0, -4.0), record.aligned_from_plate))
    faces.record = lambda _: moved
    hidden = np.asarray(faces.read_image(name)[..., 0] > 128, np.float32)
    with MaskStore.open(tmp_path, create=True) as store:
        store.add_mask(name, "xseg", hidden, made_by="test")
    face = decoder(faces).decode(name).float() / 255
    seen = face[0] > 128 / 255
    assert ((face[3] > 0.5) == seen).float().mean() > 0.97


def test_label_comes_before_network_before_hull(faces: Any, tmp_path: Path) -> None:
    square = ((8.0, 8.0), (56.0, 8.0), (56.0, 56.0), (8.0, 56.0))
    with MaskStore.open(tmp_path, create=True) as store:
        for name in faces.names[:2]:
            store.add_mask(name, "xseg", np.zeros((16, 16), np.float32), made_by="test")
        store.set_label(faces.names[0], Label((Polygon(True, square),)), made_by="test")
    made, plain = decoder(faces, margin=1.0), decoder(faces, None, margin=1.0)
    label, xseg, hull = (made.decode(name)[3] for name in faces.names[:3])
    assert label[6:26, 6:26].float().mean() > 250
    assert xseg.max() == 0
    torch.testing.assert_close(hull, plain.decode(faces.names[2])[3], rtol=0, atol=0)
    assert made.masked_faces == 2
    made.close()


@pytest.mark.parametrize("masks", ["none", "empty file", "another source", "removed"])
def test_without_masks_of_the_recipe_every_bit_is_as_before(faces: Any, tmp_path: Path, masks: str) -> None:
    if masks != "none":
        with MaskStore.open(tmp_path, create=True) as store:
            if masks == "another source":
                store.add_mask(faces.names[0], "painted", painted(), made_by="test")
            elif masks == "removed":
                store.add_mask(faces.names[0], "xseg", painted(), made_by="test")
                store.remove_masks("xseg")
    ours, before = decoder(faces), decoder(faces, None)
    for name in faces.names:
        torch.testing.assert_close(ours.decode(name), before.decode(name), rtol=0, atol=0)
    assert ours.masked_faces == 0


def test_a_damaged_mask_is_reported_and_its_face_passed_over(faces: Any, tmp_path: Path) -> None:
    with MaskStore.open(tmp_path, create=True) as store:
        for name in faces.names[:2]:
            store.add_mask(name, "xseg", painted(), made_by="test")
        store._rows("UPDATE content SET data = x'00' WHERE id = 1", ())
    made = decoder(faces)
    pool = FacePool(made, faces.names, budget_bytes=1 << 24, batch_size=4, seed=0, side="source")
    for _ in range(8):
        pool.draw(torch.Generator())
    assert set(pool._slots) == set(range(1, 12))
    assert [(notice.reason, notice.details["face"]) for notice in pool.notices] == [("MASK_DAMAGED", faces.names[0])]
    pool.close()
    made.close()


def test_a_run_says_whose_masks_it_uses(faces: Any, target: Any, tmp_path: Path) -> None:
    with MaskStore.open(tmp_path, create=True) as store:
        store.add_masks("xseg", [(name, painted()) for name in faces.names[:5]], made_by="test")

    def makers(**settings: Any) -> BatchMakers:
        return BatchMakers.from_settings(
            TrainSettings(batch_size=8, random_warp=False, **settings),
            load_preset("quick").recipe,
            faces,
            target,
            face_type=FaceType.FULL,
            resolution=RESOLUTION,
            device=torch.device("cpu"),
        )

    both = makers()
    (notice,) = both.source.take_notices()
    assert (notice.reason, notice.severity, notice.details) == (
        "STORED_MASKS", "info", {"side": "source", "faces": "5"}
    )  # fmt: skip
    assert "5 of 12" in notice.message
    assert not both.target.take_notices()
    for _ in range(4):
        batch = both.source.make()
    assert any(mask[0, 14:18, 16:20].max() < 0.02 and mask.max() > 0.99 for mask in batch.mask)
    both.close()
    hull = makers(masks="hull")
    assert not hull.source.take_notices()
    misspelt = makers(masks="paintd > hull")
    (notice,) = misspelt.target.take_notices()
    assert (notice.reason, notice.severity) == ("MASKS_NOT_FOUND", "warning")
    assert "target faceset has a mask named paintd:" in notice.message
    misspelt.close()
    hull.close()
