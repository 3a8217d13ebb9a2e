"""Who a model paints when it merges."""

import pytest
import torch

from dflcore.cores import cores
from dflcore.errors import InvalidInput
from dflcore.merge.swapper import ModelSwapper
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset
from dflcore.types import FaceType

FACES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def several() -> FaceModel:
    """A network that knows two sources."""
    return _model("df", sources=2)


@pytest.fixture(scope="module")
def morphing() -> FaceModel:
    return _model("amp")


def _model(preset: str, **more: object) -> FaceModel:
    torch.manual_seed(1)
    found = load_preset(preset)
    dims = {"e_dims": 16, "d_dims": 16, "d_mask_dims": 16, "ae_dims": 32} if preset in ("df", "liae-ud") else {}
    if preset == "amp":
        dims = {"e_dims": 16, "d_dims": 16}
    return found.build(found.resolve_network({"resolution": 64, **dims, **more})).eval()


def _swapper(model: FaceModel, **more: object) -> ModelSwapper:
    return ModelSwapper(model, face_type=FaceType.FULL, name="m", digest="", device="cpu", **more)


@pytest.mark.parametrize("identity", ["source", "source2", "target"])
def test_the_person_that_was_asked_for(several: FaceModel, identity: str) -> None:
    painted, _, _ = _swapper(several, identity=identity).swap(FACES)
    with torch.inference_mode():
        expected = several.swap(FACES, identity=identity).face
    torch.testing.assert_close(painted, expected, rtol=0, atol=0)


@pytest.mark.parametrize("preset", ["df", "amp", "quick", "liae-ud"])
def test_the_same_bits_on_any_number_of_cores(preset: str) -> None:
    painters = []
    for count in (1, 2, 4):
        model = _model(preset)
        with cores(count):
            painters.append(_swapper(model).swap(FACES))
    for others in painters[1:]:
        assert all(torch.equal(one, other) for one, other in zip(painters[0], others, strict=True))


def test_persons_differ(several: FaceModel) -> None:
    first, second = (_swapper(several, identity=name).swap(FACES)[0] for name in ("source", "source2"))
    assert (first - second).abs().max() > 1e-3


def test_morph_goes_from_the_performer_to_the_source(morphing: FaceModel) -> None:
    none, half, whole = (_swapper(morphing, morph=value).swap(FACES)[0] for value in (0.0, 0.5, 1.0))
    assert (none - half).abs().max() > 1e-4
    assert (half - whole).abs().max() > 1e-4


def test_nobody_of_that_name(several: FaceModel) -> None:
    with pytest.raises(InvalidInput, match=r"nobody called 'source3'; it knows source, source2, target") as caught:
        _swapper(several, identity="source3")
    assert caught.value.details["field"] == "identity"


def test_no_morph_factor(several: FaceModel) -> None:
    with pytest.raises(InvalidInput, match="has no morph factor") as caught:
        _swapper(several, morph=0.5)
    assert caught.value.details["field"] == "morph"
