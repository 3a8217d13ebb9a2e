"""The table of cards: every row adds up, and a preset made for a card fits it."""

import torch

from dflcore.tuning.cards import CARDS_GB, GB, USABLE, compute_rows, table


def test_the_small_card_holds_its_preset_with_all_its_options() -> None:
    rows = list(compute_rows("small-card", CARDS_GB["small-card"], [None]))
    assert rows[0].settings == "float32"
    assert all(row.estimate.total < USABLE * 2 * GB and row.fitting >= row.load.batch_size for row in rows)
    assert rows[-1].load.offload_optimizer
    assert rows[-1].estimate.total < rows[0].estimate.total
    text = table(rows, "computed")
    assert text.count("\n| small-card, 4 |") == len(rows)
    assert f"**{rows[0].estimate.total / GB:.2f}**" in text
    assert torch.get_default_device().type == "cpu"
