"""The table of measures hangs together: every limit is some measure's, every name leads somewhere."""

import pytest
from pydantic import ValidationError

from dflcore.config.describe import describe_settings
from dflcore.config.qc import LIMITS, QcSettings
from dflcore.qc.measures import GROUPS, MEASURES, STATES, Measure


def limits_of(measure):
    return [limit for limit in (measure.low, measure.high) if limit is not None]


def test_every_limit_of_the_settings_is_one_measures():
    named = [limit for measure in MEASURES.values() for limit in limits_of(measure) if isinstance(limit, str)]
    from_settings = [one.name for one in describe_settings(QcSettings) if one.group == LIMITS]
    assert sorted(named) == sorted(from_settings)
    strict = QcSettings.from_values({"max_flicker": 0.125, "min_grain": 0.5})
    assert MEASURES["flicker"].info(strict).high == 0.125
    assert MEASURES["grain"].info(strict).low == 0.5


def test_rows_hang_together():
    assert {measure.group for measure in MEASURES.values()} == set(GROUPS)
    assert set(MEASURES) > STATES
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert not measure.beside or MEASURES[measure.beside].unit == measure.unit
        assert measure.meaning.endswith(".")
        assert "  " not in measure.meaning + measure.change
        assert (measure.level == "info") == (not limits_of(measure)) == (not measure.change)


@pytest.mark.parametrize("slip", [{"hihg": 1.0}, {"group": "Elsewhere"}, {"level": "worse"}, {"per": "shot"}])
def test_slips_of_the_pen_are_found(slip):
    row = MEASURES["flicker"].model_dump() | slip
    with pytest.raises(ValidationError):
        Measure(**row)
