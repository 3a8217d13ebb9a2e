"""The pool of faces: bounded, seeded, complete, forgiving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.io.masks import MaskStore
from dflcore.train.dataset import FaceDecoder, FacePool, stored_size
from dflcore.train.sampling import UniformYaw
from dflcore.types import Authorization, FacesetInfo, FaceType
from small_facesets import make_record, plate_landmarks

ALIGNED = 64
RESOLUTION = 32
MARGIN = 1.25


def make_pool(faces: Any, budget_faces: int, *, seed: int = 1, batch_size: int = 4, **options: Any) -> FacePool:
    decoder = FaceDecoder(faces, FaceType.FULL, RESOLUTION, MARGIN)
    return FacePool(
        decoder,
        faces.names,
        budget_bytes=budget_faces * 4 * decoder.stored_size**2,
        batch_size=batch_size,
        seed=seed,
        side="source",
        **options,
    )


def skewed_yaws(count: int) -> list[float]:
    """Nearly all faces look ahead, one in ten is turned."""
    return [1.0 - 0.02 * index if index % 10 == 0 else 0.0 for index in range(count)]


POLICIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "every face": lambda count: {},
    "uniform yaw": lambda count: {"policy": UniformYaw(skewed_yaws(count))},
    "three threads": lambda count: {"threads": 3},
}


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


def test_a_corrected_square_is_what_is_trained_on(source: Any) -> None:
    """A person moved the square: the hull of the landmarks moves with it, the picture is the new square's."""
    name = source.names[0]
    record = source.record(name)
    moved = replace(record, aligned_from_plate=affine.compose(affine.shift(6.0, -4.0), record.aligned_from_plate))
    before = FaceDecoder(source, FaceType.FULL, ALIGNED, 1.0).decode(name)
    source.record = lambda _: moved
    after = FaceDecoder(source, FaceType.FULL, ALIGNED, 1.0).decode(name)
    torch.testing.assert_close(after[:3], before[:3], atol=0, rtol=0)
    shifted = after[3, : ALIGNED - 4, 6:].int() - before[3, 4:, : ALIGNED - 6].int()
    assert shifted.abs().max() <= 16  # one step of the outline's antialiasing


def test_priority_lies_on_eyes_and_mouth_inside_the_mask(source: Any) -> None:
    decoder = FaceDecoder(source, FaceType.FULL, 128, 1.0, priority=True)
    face = decoder.decode(source.names[0])
    assert face.shape == (5, 128, 128)
    assert decoder.planes == 5
    weight, mask = face[4], face[3]
    assert weight.max() == 255
    assert (weight[mask == 0] == 0).all()
    record = source.record(source.names[0])
    points = affine.apply(record.aligned_from_plate, record.landmarks.points) * 2.0
    for part in (slice(36, 42), slice(42, 48), slice(60, 68)):
        x, y = points[part].mean(0).round().astype(int)
        assert weight[y, x] > 100
    nose, chin = points[30].round().astype(int), points[8].round().astype(int)
    assert weight[nose[1], nose[0]] < weight.max()
    assert weight[min(chin[1], 127) - 6, chin[0]] == 0


def test_priority_leaves_out_what_a_stored_mask_hides(source: Any, tmp_path: Path) -> None:
    hidden = np.zeros((ALIGNED, ALIGNED), np.float32)
    hidden[ALIGNED // 2 :] = 1.0  # something covers the upper half
    with MaskStore.open(tmp_path, create=True) as store:
        store.add_mask(source.names[0], "xseg", hidden, made_by="test")

    class Stored(type(source)):  # type: ignore[misc]
        @property
        def info(self) -> Any:
            return replace(super().info, path=str(tmp_path))

    decoder = FaceDecoder(Stored(1, (9, 9, 9)), FaceType.FULL, ALIGNED, 1.0, MaskRecipe.parse("xseg"), priority=True)
    weight = decoder.decode(source.names[0])[4]
    assert weight[: ALIGNED // 2 - 1].max() == 0
    assert weight.max() == 255
    decoder.close()


@pytest.fixture
def portrait(astronaut: np.ndarray) -> Callable[[FaceType, int], Any]:
    """One real face, cut to any face type by the same landmarks."""

    def cut(face_type: FaceType, size: int) -> Any:
        points = plate_landmarks(scale=70.0, angle=0.1, shift=(190.0, 75.0))
        face = make_record(0, face_type=face_type, size=size, landmarks=points)
        plate = torch.from_numpy(astronaut.copy()).permute(2, 0, 1).float()
        image = warp_to_aligned(plate, face.aligned_from_plate, size).clamp(0, 255).round().to(torch.uint8)

        class One:
            names = (face.name,)
            info = FacesetInfo(
                path="one",
                face_count=1,
                face_type=face_type,
                aligned_size=size,
                plates=("plate",),
                authorization=Authorization(),
            )

            def record(self, _: str) -> Any:
                return face

            def read_image(self, _: str) -> Any:
                return image.permute(1, 2, 0).numpy()

        return One()

    return cut


@pytest.mark.parametrize("wide", [FaceType.MIDFULL, FaceType.WHOLE, FaceType.HEAD])
def test_a_wider_face_trains_a_narrower_model_with_real_pixels(
    wide: FaceType, portrait: Callable[[FaceType, int], Any]
) -> None:
    narrow = FaceType.HALF if wide is FaceType.MIDFULL else FaceType.FULL
    direct = FaceDecoder(portrait(narrow, 512), narrow, 64, 1.1).decode("x")
    decoder = FaceDecoder(portrait(wide, 512), narrow, 64, 1.1)
    assert not decoder.extended
    cropped = decoder.decode("x")
    inside = (slice(None), slice(4, -4), slice(4, -4))  # beyond its own square the direct one repeats its border
    difference = (cropped[inside].int() - direct[inside].int()).abs().float()
    assert difference[:3].mean() < 3.0
    assert difference[3].mean() < 1.0
    assert cropped[:3, :3].float().std() > 5.0


def test_a_narrower_face_is_extended_by_its_border(portrait: Callable[[FaceType, int], Any]) -> None:
    decoder = FaceDecoder(portrait(FaceType.HALF, 256), FaceType.WHOLE, 96, 1.0)
    assert decoder.extended
    face = decoder.decode("x")
    real = FaceDecoder(portrait(FaceType.WHOLE, 512), FaceType.WHOLE, 96, 1.0).decode("x")
    middle = (slice(0, 3), slice(40, 66), slice(36, 60))
    assert (face[middle].int() - real[middle].int()).abs().float().mean() < 4.0
    torch.testing.assert_close(face[:3, :, 0], face[:3, :, 3], atol=2, rtol=0)
    torch.testing.assert_close(face[3], real[3], atol=6, rtol=0)


def test_landmarks_in_one_place_are_a_damaged_face(portrait: Callable[[FaceType, int], Any]) -> None:
    faces = portrait(FaceType.WHOLE, 64)
    record = faces.record("x")
    broken = replace(record, landmarks=replace(record.landmarks, points=np.zeros((68, 2), np.float32)))
    faces.record = lambda _: broken
    with pytest.raises(DataCorrupt, match="landmarks") as caught:
        FaceDecoder(faces, FaceType.FULL, 32, 1.0).decode("x")
    assert caught.value.reason == "FACE_DAMAGED"


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


@pytest.mark.parametrize("unreadable", [frozenset(), frozenset({0, 7, 20})])
@pytest.mark.parametrize("budget", [6, 100])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_restored_pool_goes_on_the_same_way(
    make_faceset: Any, policy: str, budget: int, unreadable: frozenset[int]
) -> None:
    def pool_of(seed: int) -> FacePool:
        return make_pool(make_faceset(30, (10, 200, 90), unreadable), budget, seed=seed, **POLICIES[policy](30))

    pool = pool_of(1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        pool.draw(generator)
    state, draws = pool.state(), generator.get_state()
    expected = torch.stack([pool.draw(generator) for _ in range(20)])
    pool.close()
    other = pool_of(99)
    assert other.restore(state)
    generator.set_state(draws)
    torch.testing.assert_close(torch.stack([other.draw(generator) for _ in range(20)]), expected, atol=0, rtol=0)
    other.close()


def test_turned_faces_come_as_often_as_frontal_ones(make_faceset: Any) -> None:
    """Also when the pool can hold a fifth of the faces only."""
    yaws = skewed_yaws(300)
    yaws[10:] = [0.0 if index % 10 or index > 60 else yaw for index, yaw in enumerate(yaws)][10:]
    pool = make_pool(make_faceset(300, (10, 200, 90)), 60, policy=UniformYaw(yaws))
    generator = torch.Generator().manual_seed(0)
    counts = np.zeros(300)
    for _ in range(600):
        pool._advance()
        slots = pool._policy.choose(len(pool), 4, generator)
        np.add.at(counts, [pool._slots[slot] for slot in slots.tolist()], 1)
        assert len(set(pool._slots)) == len(pool) <= 60
    pool.close()
    turned = np.abs(yaws) > 0.05  # 6 of 300 faces, 6 of 7 bins, held most of the time
    assert 0.7 < counts[turned].sum() / counts.sum() < 0.88
    assert (counts[~turned] > 0).mean() > 0.5


def test_borrowed_faces_leave_the_pool_as_it_is(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(30, (10, 200, 90)), 6)
    generator = torch.Generator().manual_seed(0)
    assert pool.borrow(3, generator).shape == (3, 4, 40, 40)
    before = pool.state()
    pool.borrow(5, generator)
    after = pool.state()
    pool.close()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_states_of_before_there_were_policies_are_restored(make_faceset: Any) -> None:
    pool = make_pool(make_faceset(30, (10, 200, 90)), 6)
    pool.draw(torch.Generator())
    state = pool.state()
    old = {name: state[name] for name in ("slots", "next_slot", "generator", "names")}
    old["upcoming"] = torch.cat([state["upcoming"], state["order"]])
    expected = torch.stack([pool.draw(torch.Generator().manual_seed(step)) for step in range(40)])
    pool.close()
    other = make_pool(make_faceset(30, (10, 200, 90)), 6)
    assert other.restore(old)
    drawn = torch.stack([other.draw(torch.Generator().manual_seed(step)) for step in range(40)])
    torch.testing.assert_close(drawn, expected, atol=0, rtol=0)
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
