"""Policies and shards: complete, even, the same for the same seed."""

import numpy as np
import pytest
import torch

from dflcore.train.sampling import YAW_BINS, YAW_LIMIT, EveryFace, UniformYaw, mixed_seed, shard


def test_every_face_enters_once_per_round() -> None:
    policy, generator = EveryFace(7), torch.Generator().manual_seed(1)
    rounds = [[policy.next_face(set(), generator) for _ in range(7)] for _ in range(3)]
    assert all(sorted(faces) == list(range(7)) for faces in rounds)  # type: ignore[type-var]
    assert rounds[0] != rounds[1]


def test_bins_are_drawn_in_turn_and_their_faces_evenly() -> None:
    yaws = [0.0] * 97 + [0.5, -3.0, 0.9]
    policy, generator = UniformYaw(yaws), torch.Generator().manual_seed(2)
    for slot in range(100):
        policy.put(slot, slot)
    drawn = policy.choose(100, 4 * 970, generator)
    counts = np.bincount(drawn.numpy(), minlength=100)
    assert counts[97:].tolist() == [970, 970, 970]
    assert counts[:97].sum() == 970
    assert counts[:97].max() < 30


def test_bins_are_as_wide_as_told_and_the_ends_are_open() -> None:
    width = 2 * YAW_LIMIT / YAW_BINS
    policy = UniformYaw([-9.0, -YAW_LIMIT, 0.1 * width, 0.9 * width, 1.1 * width, YAW_LIMIT, 9.0, float("nan")])
    same = policy._bin_of
    assert same[0] == same[1] != same[2] == same[3] != same[4]
    assert same[5] == same[6]
    assert same[7] == same[2]


def test_rare_bins_enter_as_often_as_full_ones_and_nothing_held_enters_again() -> None:
    policy, generator = UniformYaw([0.0] * 30 + [0.8]), torch.Generator().manual_seed(3)
    entering = [policy.next_face(set(), generator) for _ in range(60)]
    assert entering.count(30) == 30
    assert sorted(face for face in entering if face != 30) == list(range(30))  # type: ignore[type-var]
    assert policy.next_face(set(range(30)), generator) == 30
    assert policy.next_face(set(range(31)), generator) is None


def test_only_bins_with_held_faces_are_drawn() -> None:
    policy, generator = UniformYaw([0.0, 0.5, 1.0]), torch.Generator().manual_seed(4)
    policy.put(0, 0)
    policy.put(1, 1)
    policy.put(0, 2)  # the first face has left
    counts = torch.bincount(policy.choose(2, 100, generator), minlength=2)
    assert counts.tolist() == [50, 50]
    assert policy._slots == [[], [1], [0]]


@pytest.mark.parametrize("world", [2, 3])
def test_shards_share_all_faces_out(world: int) -> None:
    names = [f"face_{index}" for index in range(20)]
    shards = [shard(names, rank, world, 5) for rank in range(world)]
    assert sorted(name for part in shards for name in part) == sorted(names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert shards == [shard(names, rank, world, 5) for rank in range(world)]
    assert shards[0] != shard(names, 0, world, 6)


def test_too_few_faces_are_shared_by_all() -> None:
    assert shard(["a", "b"], 2, 3, 0) == ["a", "b"]
    assert shard(["b", "a"], 0, 1, 0) == ["b", "a"]


def test_seeds_differ() -> None:
    seeds = {mixed_seed(seed, side, rank) for seed in range(20) for side in range(3) for rank in range(4)}
    assert len(seeds) == 240
    assert all(0 <= seed < 2**63 for seed in seeds)
