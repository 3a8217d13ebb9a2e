"""The membrane against an exact solve, harmonic laws, the frame's edge and what it costs."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import splu

from dflcore.merge import poisson
from dflcore.merge.poisson import TOLERANCE, find_rim, solve_membrane

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def noise(*shape, seed=4):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def disk(height, width, center, radius):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (y - center[0]).square() + (x - center[1]).square() < radius**2


def outlines():
    """Regions (name, (H, W) bool), ordinary ones and some nobody would draw."""
    eaten = disk(90, 101, (45, 50), 40) & ~disk(90, 101, (42, 60), 9) & (noise(90, 101).abs() > 0.06)
    sponge = noise(80, 90, seed=1) > -0.5
    comb = torch.zeros(64, 64, dtype=torch.bool)
    comb[4:60, 3:62] = True
    comb[6:60, 5:62:3] = False
    frame = torch.ones(70, 80, dtype=torch.bool)
    frame[12:-9, 10:-14] = False
    frame[0, 0] = False
    return {
        "disk": disk(120, 110, (60, 54), 50),
        "eaten": eaten,
        "islands": disk(60, 90, (20, 22), 15) | disk(60, 90, (40, 70), 17) | disk(60, 90, (51, 9), 3),
        "sponge": sponge,
        "comb": comb,
        "at the frame's edge": disk(75, 81, (3, 76), 45),
        "a frame around": frame,
        "one line": disk(9, 120, (4, 60), 999) & (torch.arange(9) == 4)[:, None],
    }


OUTLINES = outlines()


def exact(region, border, trust=None):
    """The same equations one by one, solved directly in float64; parts without anything given are left at 0."""
    height, width = region.shape
    trust = torch.ones(region.shape) if trust is None else trust
    number = {tuple(cell): index for index, cell in enumerate(region.nonzero().tolist())}
    entries = []
    right = np.zeros((len(number), len(border)))
    known = border.isfinite().all(dim=0)
    for (y, x), index in number.items():
        diagonal = 1e-13
        for step in NEIGHBOURS:
            other = (y + step[0], x + step[1])
            if not (0 <= other[0] < height and 0 <= other[1] < width):
                continue
            if other in number:
                diagonal += 1.0
                entries.append((index, number[other], -1.0))
            elif bool(known[other]):
                weight = float(trust[other])
                diagonal += weight
                right[index] += weight * border[:, other[0], other[1]].double().numpy()
        entries.append((index, index, diagonal))
    rows, columns, values = zip(*entries, strict=True)
    matrix = csr_matrix((values, (rows, columns)), shape=(len(number), len(number))).tocsc()
    solved = torch.zeros(border.shape, dtype=torch.float64)
    solved[:, region] = torch.from_numpy(splu(matrix).solve(right).T.copy())
    return solved


def span_of(region, border):
    given = border[:, find_rim(region)]
    return float(given.amax() - given.amin())


@pytest.mark.parametrize("name", OUTLINES)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_the_exact_solution_within_what_it_promises(name, seed):
    region, border = OUTLINES[name], noise(3, *OUTLINES[name].shape, seed=seed)
    solved = solve_membrane(region, border)
    error = (solved.double() - exact(region, border)).abs().amax()
    assert float(error) <= TOLERANCE * span_of(region, border)
    assert not solved[:, ~region].any()


def test_it_is_as_exact_on_sieves_of_random_holes():
    generator = torch.Generator().manual_seed(7)
    for number in range(40):
        height, width = (int(side) for side in torch.randint(2, 40, (2,), generator=generator))
        region = torch.rand(height, width, generator=generator) < (number + 1) / 41
        border = torch.randn(2, height, width, generator=generator)
        if bool(find_rim(region).any()):
            error = (solve_membrane(region, border).double() - exact(region, border)).abs().amax()
            assert float(error) <= TOLERANCE * span_of(region, border)


@pytest.mark.parametrize("name", OUTLINES)
def test_it_is_as_exact_as_one_asks_for(name):
    region, border = OUTLINES[name], noise(2, *OUTLINES[name].shape)
    solved = solve_membrane(region, border.double(), tolerance=1e-10)
    torch.testing.assert_close(solved, exact(region, border), rtol=0, atol=1e-9)
    in_single = solve_membrane(region, border, tolerance=1e-6)
    torch.testing.assert_close(in_single.double(), solved, rtol=0, atol=2e-6 * span_of(region, border))


@pytest.mark.parametrize("name", ["disk", "eaten", "at the frame's edge"])
def test_what_is_not_trusted_pulls_less(name):
    region = OUTLINES[name]
    border, trust = noise(3, *region.shape), noise(*region.shape, seed=9).abs().clamp(0, 1).pow(6)
    solved = solve_membrane(region, border.double(), trust=trust.double(), tolerance=1e-9)
    torch.testing.assert_close(solved, exact(region, border, trust), rtol=0, atol=1e-7)


def test_a_plane_around_is_a_plane_inside():
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    plane = torch.stack([0.01 * x - 0.02 * y, 3.0 + 0.5 * y, torch.full_like(x, 7.0)])
    region = disk(90, 120, (45, 60), 40)
    solved = solve_membrane(region, plane)
    torch.testing.assert_close(solved[0, region], plane[0, region], rtol=0, atol=2e-4)
    torch.testing.assert_close(solved[1, region], plane[1, region], rtol=0, atol=50 * TOLERANCE)
    torch.testing.assert_close(solved[2, region], plane[2, region], rtol=0, atol=0)


def test_at_the_frame_s_edge_it_is_as_if_a_mirror_stood_there():
    region, border = disk(60, 100, (12, 50), 40), noise(2, 60, 100)
    doubled = torch.cat([region.flip(0), region]), torch.cat([border.flip(1), border], dim=1)
    cut, mirrored = (solve_membrane(*one, tolerance=1e-6) for one in ((region, border), doubled))
    torch.testing.assert_close(cut, mirrored[:, 60:], rtol=0, atol=2e-5)


@pytest.mark.parametrize("factor", [1e-25, 1e-4, 8.0, 30000.0, 1e25])
def test_light_of_any_strength_obeys_the_same_law(factor):
    region, border = OUTLINES["eaten"], noise(3, *OUTLINES["eaten"].shape)
    once, scaled = solve_membrane(region, border), solve_membrane(region, factor * border)
    torch.testing.assert_close(scaled / factor, once, rtol=0, atol=1e-5)


def test_powers_of_two_change_no_bit():
    region, border = OUTLINES["disk"], noise(3, *OUTLINES["disk"].shape)
    assert torch.equal(solve_membrane(region, 1024.0 * border), 1024.0 * solve_membrane(region, border))


@pytest.mark.parametrize("level", [0.18, 1000.0])
def test_a_level_beneath_costs_no_accuracy(level):
    """Single precision is spent on what differs, not on what all have in common."""
    region, border = OUTLINES["disk"], (0.01 * noise(1, *OUTLINES["disk"].shape) + level)
    solved = solve_membrane(region, border)
    expected = exact(region, border - level) + level * region
    rounding = 2e-7 * level
    assert float((solved - expected).abs().amax()) <= TOLERANCE * span_of(region, border) + rounding


@pytest.mark.parametrize("name", ["disk", "eaten", "sponge", "comb"])
def test_it_stays_between_what_is_given(name):
    region = OUTLINES[name]
    border = noise(3, *region.shape).clamp(0, 1)
    solved = solve_membrane(region, border)[:, region]
    assert float(solved.amin()) >= -TOLERANCE
    assert float(solved.amax()) <= 1.0 + TOLERANCE


def test_channels_have_nothing_to_do_with_each_other():
    region, border = OUTLINES["eaten"], noise(3, *OUTLINES["eaten"].shape)
    border[1] *= 1000.0
    together = solve_membrane(region, border)
    for channel in range(3):
        alone = solve_membrane(region, border[channel : channel + 1])
        span = span_of(region, border[channel : channel + 1])
        torch.testing.assert_close(together[channel : channel + 1], alone, rtol=0, atol=TOLERANCE * span)


@pytest.mark.parametrize("shift", [(3, 0), (0, 5), (7, 11)])
def test_where_in_the_picture_it_lies_changes_no_bit(shift):
    region, border = torch.zeros(150, 150, dtype=torch.bool), torch.zeros(3, 150, 150)
    region[10:130, 12:122], border[:, 10:130, 12:122] = OUTLINES["disk"], noise(3, 120, 110)
    moved = solve_membrane(region.roll(shift, (0, 1)), border.roll(shift, (1, 2)))
    assert torch.equal(moved, solve_membrane(region, border).roll(shift, (1, 2)))


def test_turned_pictures_have_turned_membranes():
    region, border = OUTLINES["eaten"], noise(2, *OUTLINES["eaten"].shape)
    turned = solve_membrane(region.rot90().contiguous(), border.rot90(dims=(1, 2)).contiguous(), tolerance=1e-6)
    expected = solve_membrane(region, border, tolerance=1e-6).rot90(dims=(1, 2))
    torch.testing.assert_close(turned, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_is_not_known_and_does_not_spread(broken):
    region, border = OUTLINES["disk"], noise(3, *OUTLINES["disk"].shape)
    border[1, :, 60:] = broken
    border[2, 30:40] = broken
    border[:, region] = broken  # nobody looks there
    solved = solve_membrane(region, border)
    assert bool(solved.isfinite().all())
    error = (solved.double() - exact(region, border)).abs().amax()
    known = border.isfinite().all(dim=0) & find_rim(region)
    assert float(error) <= TOLERANCE * float(border[:, known].amax() - border[:, known].amin())


def test_parts_that_nothing_given_touches_take_the_mean_of_the_rest():
    region, border = OUTLINES["islands"], torch.full((2, 60, 90), 3.0)
    border[1, 20:] = 5.0
    border[:, :, 45:] = torch.nan
    solved = solve_membrane(region, border)
    known = border.isfinite().all(dim=0) & find_rim(region)
    lonely = region & (torch.arange(90) > 45)
    expected = border[:, known].mean(dim=1, keepdim=True).expand(-1, int(lonely.sum()))
    torch.testing.assert_close(solved[:, lonely], expected, rtol=0, atol=1e-5)
    assert 3.0 <= float(solved[1, region & ~lonely].amin()) < float(solved[1, region & ~lonely].amax()) <= 5.0


@pytest.mark.parametrize("what", ["no region", "no rim", "nothing known"])
def test_where_nothing_is_given_there_is_no_correction(what):
    region, border = torch.full((20, 30), what != "no region"), torch.ones(3, 20, 30)
    if what == "nothing known":
        region[4:8] = False
        border[:] = torch.nan
    assert not solve_membrane(region, border).any()


@pytest.mark.parametrize("at", [(7, 9), (0, 9), (0, 0), (19, 29)])
def test_one_pixel_is_the_mean_of_its_neighbours(at):
    region, border = torch.zeros(20, 30, dtype=torch.bool), noise(3, 20, 30)
    region[at] = True
    around = [(at[0] + dy, at[1] + dx) for dy, dx in NEIGHBOURS if 0 <= at[0] + dy < 20 and 0 <= at[1] + dx < 30]
    expected = torch.stack([border[:, y, x] for y, x in around]).mean(dim=0)
    torch.testing.assert_close(solve_membrane(region, border)[:, *at], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1)])
def test_pictures_of_next_to_nothing(size):
    region, border = torch.ones(size, dtype=torch.bool), torch.full((3, *size), 4.0)
    region[0, 0] = False
    solved = solve_membrane(region, border)
    assert torch.equal(solved, torch.where(region, border, 0.0))


@pytest.mark.parametrize(("side", "most"), [(324, 8), (800, 9)])
def test_a_few_cycles_are_enough_whatever_the_size(side, most, monkeypatch):
    region, border = disk(side, side, (side // 2, side // 2), side * 0.46), noise(3, side, side)
    accurate = solve_membrane(region, border, tolerance=1e-6)
    monkeypatch.setattr(poisson, "MAX_CYCLES", most)
    error = (solve_membrane(region, border) - accurate).abs().amax()
    assert float(error) <= TOLERANCE * span_of(region, border)


@pytest.mark.gpu
def test_a_gpu_finds_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    region, border = OUTLINES["eaten"], noise(3, *OUTLINES["eaten"].shape)
    there = solve_membrane(region.cuda(), border.cuda()).cpu()
    torch.testing.assert_close(there, solve_membrane(region, border), rtol=0, atol=TOLERANCE * 8)
