"""Batches: what every switch changes and what it leaves, resumed runs, shards, several people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dflcore.config.train import TrainSettings
from dflcore.models.registry import load_preset
from dflcore.train.batches import BatchMaker, BatchMakers, SideBatch, augment_ranges
from dflcore.types import FaceType, Pose

RESOLUTION = 32
RECIPE = load_preset("quick").recipe
STILL = replace(RECIPE, rotation_deg=0.0, scale=0.0, shift=0.0, warp=0.0, light=0.0)
"""No move and no light, so that a face stays what it is."""


def makers(source: Any, target: Any, recipe: Any = RECIPE, **options: Any) -> BatchMakers:
    names = {name: options.pop(name) for name in ("rank", "world", "face_type", "faces", "device") if name in options}
    settings = TrainSettings(**{"batch_size": 4, **options})
    wired = {"face_type": FaceType.FULL, "resolution": RESOLUTION, "device": torch.device("cpu"), **names}
    people = () if "faces" in names else (source, target)
    return BatchMakers.from_settings(settings, recipe, *people, **wired)


def tensors(batch: SideBatch) -> list[torch.Tensor]:
    return [t for t in (batch.seen, batch.face, batch.mask, batch.priority) if t is not None]


def assert_same(one: SideBatch, other: SideBatch) -> None:
    for a, b in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_shapes_and_ranges(source: Any, target: Any) -> None:
    both = makers(source, target, random_hsv=0.3, color_transfer="mkl", eyes_mouth_priority=True)
    for batch in both.make().values():
        assert [tuple(t.shape) for t in tensors(batch)] == [(4, c, RESOLUTION, RESOLUTION) for c in (3, 3, 1, 1)]
        assert all(t.min() >= 0 and t.max() <= 1 and t.dtype == torch.float32 for t in tensors(batch))
        assert batch.priority is not None
        assert batch.priority.amax((1, 2, 3)).min() > 0.7
    both.close()


def test_priority_costs_nothing_when_nobody_asks(source: Any, target: Any) -> None:
    plain, asked = makers(source, target), makers(source, target, replace(RECIPE, eyes_mouth_priority=True))
    assert plain.source.make().priority is None
    assert plain.source._pool._faces.shape[1] == 4
    assert asked.source._pool._faces.shape[1] == 5
    assert_same(plain.target.make(), replace(asked.target.make(), priority=None))
    plain.close()
    asked.close()


def test_hsv_changes_what_the_encoder_sees_of_the_source_only(source: Any, target: Any) -> None:
    plain, shifted = makers(source, target, STILL), makers(source, target, STILL, random_hsv=0.2)
    for _ in range(2):
        a, b = plain.target.make(), shifted.target.make()
        assert_same(a, b)
    before, after = plain.source.make(), shifted.source.make()
    torch.testing.assert_close(before.face, after.face, atol=0, rtol=0)
    torch.testing.assert_close(before.mask, after.mask, atol=0, rtol=0)
    assert (before.seen - after.seen).abs().mean((1, 2, 3)).min() > 0.005
    plain.close()
    shifted.close()


@pytest.mark.parametrize("method", ["rct", "lct", "mkl", "idt", "sot"])
def test_the_source_takes_the_targets_colours_in_what_is_seen_and_what_is_painted(
    method: str, make_faceset: Any, astronaut: np.ndarray
) -> None:
    portrait = cv2.resize(astronaut[20:240, 110:330], (64, 64), interpolation=cv2.INTER_AREA)

    class Portraits(make_faceset):  # type: ignore[misc]
        def read_image(self, name: str) -> Any:
            return (portrait * (np.asarray(self.color) / 255.0)).round().astype(np.uint8)

    source, target = Portraits(5, (255, 240, 230)), Portraits(4, (140, 170, 220))
    plain, matched = makers(source, target, STILL), makers(source, target, STILL, color_transfer=method)
    of_target = plain.target.make()
    wanted = (of_target.face * of_target.mask).sum((0, 2, 3)) / of_target.mask.sum()
    for _ in range(3):
        before, after = plain.source.make(), matched.source.make()
        inside = after.mask / after.mask.sum((2, 3), keepdim=True)
        mean, was = (after.face * inside).sum((2, 3)), (before.face * inside).sum((2, 3))
        assert ((mean - wanted).abs() < 0.1 * (was - wanted).abs() + 0.01).all()
        torch.testing.assert_close(after.seen, after.face, atol=1e-4, rtol=0)  # one transfer, no move: the same face
    plain.close()
    matched.close()


SWITCHES = [
    {},
    {"random_hsv": 0.3, "color_transfer": "rct", "random_flip_source": True, "eyes_mouth_priority": True},
    {"uniform_yaw": True, "color_transfer": "sot"},
    {"pretrain": True},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=["plain", "colours", "yaw", "pretrain"])
def test_a_resumed_run_draws_what_it_would_have_drawn(make_faceset: Any, switches: dict[str, Any]) -> None:
    def fresh(seed: int) -> BatchMakers:
        pools = [Turned(30, (200, 120, 90)), Turned(25, (60, 90, 140))]
        return makers(*pools, seed=seed, cache_mb=16, **switches)

    class Turned(make_faceset):  # type: ignore[misc]
        def record(self, name: str) -> Any:
            return replace(super().record(name), pose=Pose(0.0, (self.names.index(name) % 9 - 4) * 0.2, 0.0))

    never_stopped = fresh(1)
    for step in range(9):
        never_stopped.make(warp=step < 5)
    states = {name: maker.state() for name, maker in never_stopped.sides.items()}
    resumed = fresh(2)
    for name, maker in resumed.sides.items():
        assert maker.restore(states[name])
    for step in range(12):
        expected, got = never_stopped.make(warp=step < 4), resumed.make(warp=step < 4)
        for name in expected:
            assert_same(got[name], expected[name])
    never_stopped.close()
    resumed.close()


def test_one_call_for_everyone_is_a_call_for_each(source: Any, target: Any) -> None:
    together, apart = makers(source, target, color_transfer="lct"), makers(source, target, color_transfer="lct")
    for _ in range(3):
        batches = together.make()
        assert_same(batches["source"], apart.source.make())
        assert_same(batches["target"], apart.target.make())
    together.close()
    apart.close()


def test_the_budget_is_shared_by_all(make_faceset: Any) -> None:
    people = {name: make_faceset(3000, (9, 9, 9)) for name in ("source", "source2", "target")}
    both = makers(None, None, faces=people, cache_mb=16, world=2)
    held = sum(maker._pool._faces.numel() for maker in both.sides.values())
    assert 0.9 * 8 * 1024**2 < held <= 8 * 1024**2
    assert list(both.sides) == ["source", "source2", "target"]
    assert both.make().keys() == people.keys()
    both.close()


def test_people_of_a_comb_are_told_apart(make_faceset: Any) -> None:
    colours = {"source": (200, 20, 20), "source2": (20, 200, 20), "target": (20, 20, 200)}
    people = {name: make_faceset(6, colour) for name, colour in colours.items()}
    all_three = makers(None, None, STILL, faces=people)
    for channel, (name, batch) in enumerate(all_three.make().items()):
        assert batch.face.mean((0, 2, 3)).argmax() == channel, name
    assert all_three.target is all_three.sides["target"]
    all_three.close()


def test_processes_draw_from_shares_of_their_own(make_faceset: Any) -> None:
    source, target = make_faceset(10, (200, 120, 90)), make_faceset(1, (60, 90, 140))
    ranks = [makers(source, target, rank=rank, world=2) for rank in range(2)]
    names = [set(rank.source._pool._names) for rank in ranks]
    assert not names[0] & names[1]
    assert names[0] | names[1] == set(source.names)
    assert all(rank.target._pool._names == target.names for rank in ranks)
    first, second = (rank.make() for rank in ranks)
    assert not torch.equal(first["target"].seen, second["target"].seen)
    again = makers(source, target, rank=1, world=2)
    assert_same(again.make()["source"], second["source"])
    torch.testing.assert_close(ranks[0].source.preview_faces(4), ranks[1].source.preview_faces(4))
    for rank in (*ranks, again):
        rank.close()


def test_pretraining_knows_no_warp_colour_or_side() -> None:
    wishes: dict[str, Any] = {"random_hsv": 0.3, "color_transfer": "rct"}
    for identity in ("source", "target"):
        ranges = augment_ranges(TrainSettings(pretrain=True, **wishes), RECIPE, identity)
        assert (ranges.warp, ranges.hsv, ranges.flip) == (0.0, 0.0, True)
    source = augment_ranges(TrainSettings(**wishes), RECIPE, "source")
    target = augment_ranges(TrainSettings(random_flip_target=True, **wishes), RECIPE, "target")
    assert (source.hsv, source.flip, target.hsv, target.flip) == (0.3, False, 0.0, True)
    assert source.warp == RECIPE.warp


def test_pretraining_draws_turned_faces_and_no_partners(source: Any, target: Any) -> None:
    both = makers(source, target, pretrain=True, color_transfer="idt")
    assert both.source._color_match is None
    assert "bins_drawn" in both.source.state()
    both.close()


def test_a_faceset_that_shows_less_is_told_about(source: Any, target: Any) -> None:
    both = makers(source, target, face_type=FaceType.WHOLE)
    (notice,) = both.source.take_notices()
    assert notice.reason == "FACE_TYPE_EXTENDED"
    assert notice.details == {"side": "source", "face_type": "full"}
    assert "paints whole" in notice.message
    both.close()
    narrower = makers(source, target, face_type=FaceType.HALF)
    assert not narrower.source.take_notices()
    assert narrower.make()["source"].mask.max() == 1
    narrower.close()


def test_a_maker_that_fails_leaves_no_thread(make_faceset: Any) -> None:
    from threading import enumerate as threads

    before = len(threads())
    with pytest.raises(Exception, match="source faceset holds no faces"):
        makers(make_faceset(0, (0, 0, 0)), make_faceset(5, (9, 9, 9)))
    assert len(threads()) == before
    with pytest.raises(TypeError, match="source and target"):
        BatchMakers.from_settings(
            TrainSettings(), RECIPE, face_type=FaceType.FULL, resolution=32, device=torch.device("cpu")
        )


def test_preview_faces_are_always_the_same_and_unchanged(source: Any, target: Any) -> None:
    both = makers(source, target, random_hsv=0.3, color_transfer="rct")
    maker: BatchMaker = both.source
    first = maker.preview_faces(3)
    maker.make()
    torch.testing.assert_close(maker.preview_faces(3), first, atol=0, rtol=0)
    assert first.shape == (3, 3, RESOLUTION, RESOLUTION)
    np.testing.assert_allclose(first[0, :, 1, 1].numpy() * 255, source.color, atol=1)
    both.close()


@pytest.mark.gpu
@pytest.mark.parametrize("switches", SWITCHES, ids=["plain", "colours", "yaw", "pretrain"])
def test_a_gpu_makes_the_same_batches(source: Any, target: Any, switches: dict[str, Any]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    here, there = makers(source, target, **switches), makers(source, target, device=torch.device("cuda"), **switches)
    for _ in range(3):
        on_cpu, on_gpu = here.make(), there.make()
        for name in on_cpu:
            for a, b in zip(tensors(on_cpu[name]), tensors(on_gpu[name]), strict=True):
                assert b.device.type == "cuda"
                # IDT and SOT pair sorted colours, so rounding may move a pixel of the cartoon by more
                assert (a - b.cpu()).abs().mean() < 2e-3
    here.close()
    there.close()
