"""What is kept stays within its bound, and is given back exactly."""

import pytest
import torch

from dflcore.merge.warmth import ByteCache, RememberingSwapper
from dflcore.types import FaceType


class Painter:
    resolution, face_type, name, digest = 4, FaceType.FULL, "p", "d"

    def __init__(self) -> None:
        self.runs = 0

    def swap(self, target):
        self.runs += 1
        mask = target[:, :1]
        return target * 0.5, mask, 1.0 - mask


def test_the_oldest_goes_first() -> None:
    cache: ByteCache[str] = ByteCache(10)
    for key in "abc":
        cache.put(key, key, 4)
    assert [cache.get(key) for key in "abc"] == [None, "b", "c"]
    cache.get("b")
    cache.put("d", "d", 4)
    assert [cache.get(key) for key in "bcd"] == ["b", None, "d"]
    cache.put("b", "other", 6)
    assert (cache.get("b"), cache.get("d"), cache.size) == ("other", "d", 10)
    cache.put("e", "e", 11)
    assert (cache.get("e"), cache.get("b")) == (None, "other")
    cache.clear()
    assert cache.size == 0


@pytest.mark.parametrize("change", [0.0, 1e-7])
def test_the_same_faces_are_painted_once(change: float) -> None:
    memory = ByteCache(1 << 20)
    inner = Painter()
    faces = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    first = RememberingSwapper(inner, memory, ("source",))
    painted = first.swap(faces)
    assert not first.is_reused
    painted[0].zero_()  # whoever got it may change it
    again = RememberingSwapper(inner, memory, ("source",))
    changed = faces.clone()
    changed[0, 0, 0, 0] += change
    face, *_ = again.swap(changed)
    assert torch.equal(face, changed * 0.5)
    assert (inner.runs, again.is_reused) == ((1, True) if change == 0.0 else (2, False))
    RememberingSwapper(inner, memory, ("target",)).swap(faces)
    assert inner.runs == (2 if change == 0.0 else 3)
