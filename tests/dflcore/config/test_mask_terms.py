"""Recipes of masks as settings: a bad one is refused where it is given. Their meaning: tests of io/mask_recipe.py."""

import pytest

from dflcore.config.base import Settings
from dflcore.config.mask_terms import parse_recipe
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput


@pytest.mark.parametrize(("settings", "name"), [(TrainSettings, "masks"), (MergeSettings, "segmentation")])
def test_a_bad_recipe_is_refused_with_its_place(settings: type[Settings], name: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read at character 9: .* there is the end") as caught:
        settings.from_values({name: "label > "})
    assert caught.value.reason == "BAD_SETTING"
    assert caught.value.details["field"] == name
    assert settings.from_values({name: "(xseg | painted) & !hands"}).values()[name] == "(xseg | painted) & !hands"


def test_only_merging_may_use_no_mask() -> None:
    assert MergeSettings.from_values({"segmentation": "  "}).segmentation == ""
    with pytest.raises(InvalidInput, match="name of a mask"):
        TrainSettings.from_values({"masks": ""})


def test_terms_are_written_as_they_bind() -> None:
    assert str(parse_recipe("a>(b>c)|!d&(e|f)")) == "a > (b > c) | !d & (e | f)"
    assert list(parse_recipe("a > b & !a").names()) == ["a", "b", "a"]
