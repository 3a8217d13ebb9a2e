import datetime

import pytest

from dflcore.authorization import DIFFERS, MISSING, check_authorization, parse_last_day
from dflcore.errors import InvalidInput
from dflcore.types import Authorization

TODAY = datetime.date(2026, 11, 23)


def test_a_stated_permission_is_silent() -> None:
    record = Authorization(person="Eileen Collins", until="2026-11-23")
    assert check_authorization(record, "the source faceset x", today=TODAY) == []


def test_nothing_recorded_is_said() -> None:
    (notice,) = check_authorization(Authorization(project="show"), "the source faceset x", today=TODAY)
    assert notice.reason == MISSING
    assert notice.message.startswith("The source faceset x")


def test_an_expired_permission_stops_the_work() -> None:
    record = Authorization(person="Eileen Collins", until="2026-11-22")
    with pytest.raises(InvalidInput, match="ended on 2026-11-22"):
        check_authorization(record, "the source faceset x", today=TODAY)


@pytest.mark.parametrize("text", ["1.1.2030", "31.12.2027", "soon"])
def test_a_last_day_is_a_date(text: str) -> None:
    with pytest.raises(InvalidInput, match="2027-12-31"):
        parse_last_day(text)


def test_another_purpose_is_said() -> None:
    record = Authorization(person="Eileen Collins", project="Show A", use="")
    (notice,) = check_authorization(record, "the model m", project="Show B", use="test", today=TODAY)
    assert notice.reason == DIFFERS
    assert "'Show A'" in notice.message
    assert "test" not in notice.message
