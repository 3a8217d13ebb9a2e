"""The pool of faces: bounded, seeded, complete, forgiving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.train.dataset import FaceDecoder, FacePool, stored_size
from dflcore.types import FaceType

RESOLUTION = 32
MARGIN = 1.25


def make_pool(faces: Any, budget_faces: int, *, seed: int = 1, batch_size: int = 4) -> FacePool:
    decoder = FaceDecoder(faces, FaceType.FULL, RESOLUTION, MARGIN)
    return FacePool(
        decoder,
        faces.names,
        budget_bytes=budget_faces * 4 * decoder.stored_size**2,
        batch_size=batch_size,
        seed=seed,
        side="source",
    )


def test_stored_size_is_concentric() -> None:
    assert stored_size(128, 1.0) == 128
    assert stored_size(128, 1.25) == 160
    assert (stored_size(96, 1.0712) - 96) % 2 == 0


def test_decoded_face_is_the_aligned_image_with_its_hull(source: Any) -> None:
    decoder = FaceDecoder(source, FaceType.FULL, 64, 1.0)
    face = decoder.decode(source.names[0])
    assert face.shape == (4, 64, 64)
    expected = torch.from_numpy(source.read_image(source.names[0])).permute(2, 0, 1)
    assert (face[:3].int() - expected.int()).abs().max() <= 1
    assert face[3].max() == 255
    assert face[3, 0].max() == 0
    assert 0.1 < (face[3] > 127).float().mean() < 0.8


def test_another_face_type_is_refused(source: Any) -> None:
    with pytest.raises(InvalidInput, match=r"paints half faces.*holds full") as caught:
        FaceDecoder(source, FaceType.HALF, RESOLUTION, 1.0)
    assert caught.value.reason == "FACE_TYPE_DIFFERS"


def test_a_corrected_alignment_is_what_is_trained_on(source: Any) -> None:
    record = source.record(source.names[0])
    moved = replace(record, aligned_from_plate=affine.compose(affine.shift(6.0, -4.0), record.aligned_from_plate))
    decoder = FaceDecoder(source, FaceType.FULL, RESOLUTION, 1.0)
    ratio = RESOLUTION / record.aligned_size
    expected = affine.compose(affine.shift(6.0 * ratio, -4.0 * ratio), model_from_plate(record, RESOLUTION))
    assert decoder._stored_from_plate(moved) == pytest.approx(expected)
    assert decoder.decode(source.names[0]).shape == (4, RESOLUTION, RESOLUTION)


def test_memory_is_bounded_and_every_face_is_seen(make_faceset: Any) -> None:
    faces = make_faceset(40, (200, 120, 90))
    pool = make_pool(faces, 10)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(60):
        batch = pool.draw(generator)
        assert batch.shape == (4, 4, 40, 40)
        assert len(pool) <= 10 == pool.capacity
        seen |= set(pool._slots)
    pool.close()
    assert seen == set(range(40))
    assert pool._faces.numel() == 10 * 4 * 40 * 40
    assert faces.reads < 10 + 60 + 20  # one exchange per step, not one decode per drawn face


def test_a_small_faceset_is_decoded_once(make_faceset: Any) -> None:
    faces = make_faceset(8, (200, 120, 90))
    pool = make_pool(faces, 1000)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        pool.draw(generator)
    pool.close()
    assert pool.capacity == 8
    assert faces.reads <= 8 + 16


def test_same_seed_same_batches(make_faceset: Any) -> None:
    def batches(seed: int) -> torch.Tensor:
        pool = make_pool(make_faceset(30, (10, 200, 90)), 6, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.stack([pool.draw(generator) for _ in range(12)])
        pool.close()
        return drawn

    torch.testing.assert_close(batches(3), batches(3))
    assert not torch.equal(batches(3), batches(4))


def test_a_restored_pool_goes_on_the_same_way(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(30, (10, 200, 90)), 6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        pool.draw(generator)
    state, draws = pool.state(), generator.get_state()
    expected = torch.stack([pool.draw(generator) for _ in range(9)])
    pool.close()
    other = make_pool(make_faceset(30, (10, 200, 90)), 6, seed=99)
    assert other.restore(state)
    generator.set_state(draws)
    torch.testing.assert_close(torch.stack([other.draw(generator) for _ in range(9)]), expected)
    other.close()


def test_a_changed_faceset_is_not_restored(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(30, (10, 200, 90)), 6)
    pool.draw(torch.Generator())
    state = pool.state()
    pool.close()
    other = make_pool(make_faceset(29, (10, 200, 90)), 6)
    assert not other.restore(state)
    other.close()


def test_unreadable_faces_are_reported_once_and_passed_over(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(6, (10, 200, 90), frozenset({1, 4})), 100)
    generator = torch.Generator()
    for _ in range(20):
        pool.draw(generator)
    pool.close()
    assert set(pool._slots) == {0, 2, 3, 5}
    assert [notice.reason for notice in pool.notices] == ["FACE_DAMAGED", "FACE_DAMAGED"]


def test_nothing_readable_and_nothing_there(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(3, (10, 200, 90), frozenset({0, 1, 2})), 100)
    with pytest.raises(DataCorrupt, match="No face of the source faceset"):
        pool.draw(torch.Generator())
    assert len(pool.first(4)) == 0
    pool.close()
    with pytest.raises(InvalidInput, match="holds no faces"):
        make_pool(make_faceset(0, (0, 0, 0)), 100)
