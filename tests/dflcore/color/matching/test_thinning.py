"""Few colours that stand for many: a curve without jumps, exact means, quantiles that stay."""

import itertools

import pytest
import torch

from dflcore.color.matching import thinning
from dflcore.color.matching.thinning import thin_out


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_curve_visits_every_cell_once_and_never_jumps(dimensions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "_BITS", 3)
    monkeypatch.setattr(thinning, "_STRAY_SHARE", 0.0)
    cells = torch.tensor(list(itertools.product(range(8), repeat=dimensions))).t()[None].float()
    place = thinning._place_on_curve(cells)[0]
    assert sorted(place.tolist()) == list(range(8**dimensions))
    walked = cells[0][:, place.argsort()]
    assert (walked.diff(dim=1).abs().sum(0) == 1).all()


def test_means_are_exact_and_quantiles_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(2, 3, 6000, generator=generator, dtype=torch.float64).square()
    colors[..., :50] = 40.0  # a highlight
    weights = torch.rand(2, 6000, generator=generator, dtype=torch.float64)
    weights = weights / weights.sum(1, keepdim=True)
    thinned = thin_out(colors, weights, 512)
    assert thinned.shape == (2, 3, 512)
    torch.testing.assert_close(thinned.mean(2), (colors * weights[:, None]).sum(2))
    order = colors.argsort(dim=2)
    passed = weights[:, None].expand(-1, 3, -1).gather(2, order).cumsum(2)
    levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    places = torch.searchsorted(passed, levels.expand(2, 3, -1).contiguous())
    wanted = colors.gather(2, order.gather(2, places))
    assert (thinned.quantile(levels, dim=2).permute(1, 2, 0) - wanted).abs().max() < 0.05


def test_as_many_as_there_are_stay_themselves() -> None:
    colors = torch.rand(1, 2, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    thinned = thin_out(colors, torch.full((1, 300), 1.0 / 300, dtype=torch.float64), 300)
    torch.testing.assert_close(thinned.sort(dim=2).values, colors.sort(dim=2).values)


def test_flat_colours_stay() -> None:
    flat = torch.full((1, 3, 1000), 0.3)
    thinned = thin_out(flat, torch.full((1, 1000), 1e-3, dtype=torch.float64), 100)
    torch.testing.assert_close(thinned, torch.full((1, 3, 100), 0.3, dtype=torch.float64), atol=1e-7, rtol=0)
