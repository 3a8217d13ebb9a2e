"""Headings of settings: all fields have one where a class has any, and they stand together."""

import itertools

import pytest

from dflcore.config.describe import describe_settings
from dflcore.config.exchange import ModelImportSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dfldaemon.convert import SETTINGS_CLASSES
from dfldaemon.knob_groups import FIRST_OF_GROUP, PERMISSION, groups_of


@pytest.mark.parametrize("settings_class", SETTINGS_CLASSES.values(), ids=lambda one: one.__name__)
def test_no_setting_is_lost_and_headings_do_not_come_twice(settings_class):
    groups = groups_of(settings_class)
    assert sorted(groups) == sorted(knob.name for knob in describe_settings(settings_class))
    runs = [heading for heading, _ in itertools.groupby(groups.values())]
    assert len(runs) == len(set(runs))


@pytest.mark.parametrize("settings_class", FIRST_OF_GROUP, ids=lambda one: one.__name__)
def test_headings_begin_at_settings_that_exist_and_cover_all(settings_class):
    assert set(FIRST_OF_GROUP[settings_class]) <= set(settings_class.model_fields)
    assert "" not in groups_of(settings_class).values()


def test_settings_stand_where_one_looks_for_them():
    groups = groups_of(TrainSettings)
    wanted = {
        "letters": "network",
        "d_mask_dims": "network",
        "minutes": "how long",
        "fit_batch": "speed and memory",
        "lr_dropout": "learning",
        "random_hsv": "faces",
        "gan_power": "losses",
        "pretrain": "learning",
        "backup_interval_h": "saving and previews",
        "processes": "speed and memory",
        "offload_optimizer": "speed and memory",
    }
    assert {name: groups[name] for name in wanted} == wanted


@pytest.mark.parametrize("settings_class", [TrainSettings, MergeSettings, ModelImportSettings])
def test_permission_has_a_heading_of_its_own(settings_class):
    groups = groups_of(settings_class)
    assert {name for name, heading in groups.items() if heading == PERMISSION} == {
        name for name in groups if name.startswith("authorization_")
    }
