import pytest
from pydantic import ValidationError

from dflcore.config.base import Settings
from dflcore.config.curate import ImportLegacySettings
from dflcore.config.describe import describe_settings, in_groups
from dflcore.config.exchange import ModelImportSettings
from dflcore.config.extract import CUT_FIELDS, LOOK_FIELDS, ExtractSettings
from dflcore.config.knobs import PERMISSION, Audience
from dflcore.config.merge import MergeSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput

CLASSES: list[type[Settings]] = [ExtractSettings, TrainSettings, MergeSettings]
GRANTING: list[type[Settings]] = [*CLASSES, MaskTrainSettings, ImportLegacySettings, ModelImportSettings]


def test_error_names_field_value_and_range() -> None:
    with pytest.raises(InvalidInput) as caught:
        MergeSettings.from_values({"opacity": 3, "profile": "deep", "sparkle": 1})
    message = caught.value.message
    assert "opacity (--opacity) = 3: allowed are 0 to 1" in message
    assert "allowed are layered, flat" in message
    assert "sparkle is not a setting of MergeSettings" in message
    assert set(caught.value.details["field"].split(",")) == {"opacity", "profile", "sparkle"}


@pytest.mark.parametrize("text", ["1.1.2030", "2027-02-30", "next year", "2027"])
def test_last_day_must_be_a_date(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ExtractSettings.from_values({"authorization_until": text, "max_faces": -1})
    message = caught.value.message
    assert f"authorization_until (--authorization-until) = {text!r}: not a date; write it as 2027-12-31" in message
    assert "max_faces (--max-faces) = -1: allowed are 0 to 100" in message
    assert caught.value.reason == "BAD_SETTING"
    assert set(caught.value.details["field"].split(",")) == {"authorization_until", "max_faces"}


@pytest.mark.parametrize("text", ["", "2027-12-31"])
def test_last_day_is_kept_as_written(text: str) -> None:
    assert ExtractSettings.from_values({"authorization_until": text}).authorization_until == text


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_is_described(cls: type[Settings]) -> None:
    for knob in describe_settings(cls):
        assert knob.help.endswith((".", "auto, cpu, cuda, cuda:1.")), knob.name
        if knob.type in ("int", "float"):
            assert knob.minimum is not None, knob.name
            assert knob.maximum is not None, knob.name
        if knob.choices:
            assert knob.default in knob.choices or (knob.optional and knob.default is None), knob.name


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_survive_the_round_trip(cls: type[Settings]) -> None:
    assert cls.from_values(cls().values()) == cls()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        MergeSettings().opacity = 0.5  # type: ignore[misc]


def test_digest_follows_pixels_only() -> None:
    assert MergeSettings().digest() == MergeSettings(overwrite=True).digest()
    assert MergeSettings().digest() != MergeSettings(opacity=0.5).digest()


def test_audience_widens() -> None:
    artist = {knob.name for knob in describe_settings(MergeSettings, Audience.ARTIST)}
    td = {knob.name for knob in describe_settings(MergeSettings, Audience.TD)}
    assert "compression" not in artist
    assert artist < td


PLAN_FIELDS = frozenset(
    {"smoothing_radius", "max_gap", "split_at_cuts", "keep_person", "keep_tracks", "same_person_distance", "people"}
)
"""What they change is in the planned faces themselves, which are part of what is cut."""
HOW_NOT_WHAT = frozenset({"detect_batch", "missing_frames"})
"""Change which frames there are, or how fast; not what is found in one."""


def test_every_setting_of_extraction_that_changes_pixels_has_frames_done_again() -> None:
    fields = ExtractSettings.model_fields
    chosen = {name for name, field in fields.items() if (field.json_schema_extra or {})["affects_pixels"]}  # type: ignore[index,call-overload]
    assert chosen == LOOK_FIELDS | CUT_FIELDS | PLAN_FIELDS | HOW_NOT_WHAT
    assert not PLAN_FIELDS & (LOOK_FIELDS | CUT_FIELDS)
    plain = ExtractSettings()
    for name in sorted(chosen - {"face_type", "aligned_format", "rotations", "people", "missing_frames"}):
        value = getattr(plain, name)
        other = plain.model_copy(update={name: "other" if isinstance(value, str) else type(value)(value - 1)})
        assert (plain.look_digest() != other.look_digest()) == (name in LOOK_FIELDS), name
        assert (plain.cut_digest() != other.cut_digest()) == (name in CUT_FIELDS), name


def test_every_setting_of_training_stands_where_one_looks_for_it() -> None:
    groups = {knob.name: knob.group for knob in describe_settings(TrainSettings)}
    assert "" not in groups.values()
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
    }
    assert {name: groups[name] for name in wanted} == wanted


@pytest.mark.parametrize("cls", GRANTING)
def test_permission_has_a_heading_of_its_own(cls: type[Settings]) -> None:
    groups = {knob.name: knob.group for knob in describe_settings(cls)}
    assert {name for name, group in groups.items() if group == PERMISSION} == {
        name for name in groups if name.startswith("authorization_")
    }


def test_a_heading_does_not_come_twice() -> None:
    groups = in_groups(describe_settings(TrainSettings))
    assert list(groups)[:2] == ["network", "how long"]
    assert [knob.name for knob in groups["how long"]] == ["iterations", "minutes"]
    assert sum(map(len, groups.values())) == len(TrainSettings.model_fields)


def test_where_networks_lie_does_not_count_in_a_digest_but_which_and_how_they_are_used_does() -> None:
    def digest(root: str, sep: str = "/", *, person: str = "anna", options: str = "?range=unit") -> str:
        return MergeSettings(
            cast=f"track 3 = {root}{sep}{person}; others = plate",
            enhancer=f"detail:{root}{sep}detail{options}",
            segmenter=f"{root}{sep}masks",
        ).digest()

    assert digest("/show") == digest("/mnt/show") == digest("Z:\\show", "\\")
    assert digest("/show") != digest("/show", person="bob")
    assert digest("/show") != digest("/show", options="")
    assert MergeSettings(enhancer="detail:/a").digest() != MergeSettings().digest()
