"""Permission to use a face: what training and merging ask before they start. An expired one stops the work."""

from __future__ import annotations

import datetime

from dflcore.errors import InvalidInput
from dflcore.progress import Notice
from dflcore.types import Authorization

MISSING = "AUTHORIZATION_MISSING"
EXPIRED = "AUTHORIZATION_EXPIRED"
DIFFERS = "AUTHORIZATION_DIFFERS"


def check_authorization(
    authorization: Authorization,
    subject: str,
    *,
    project: str = "",
    use: str = "",
    today: datetime.date | None = None,
) -> list[Notice]:
    """Ask whether a face may be used, and say what a person should know.

    Args:
        authorization: the record that came with the face.
        subject: what it came with, in words for messages: ``the source faceset /shots/hero``.
        project, use: what the work is for, as its settings say; empty when they say nothing.
        today: for tests.

    Returns:
        Notices: nothing is recorded, or the work is for something else than the record permits.

    Raises:
        InvalidInput: the permission has expired, or its last day cannot be read as a date.
    """
    if not authorization.is_stated:
        message = f"{subject[:1].upper()}{subject[1:]} does not say whose face it is and who allowed its use."
        return [Notice(message=message, reason=MISSING)]
    until = parse_last_day(authorization.until)
    if until is not None and until < (today or datetime.date.today()):
        raise InvalidInput(
            f"The permission for {subject} ended on {until.isoformat()}. Get it renewed, then record the new last day "
            "by extracting into the faceset again with --authorization-until; models take it over when trained on.",
            reason=EXPIRED,
            field="authorization_until",
        )
    asked = {"project": project, "use": use}
    differing = [
        f"its {name} is {getattr(authorization, name)!r}, this work's is {value!r}"
        for name, value in asked.items()
        if value and getattr(authorization, name) and value != getattr(authorization, name)
    ]
    if differing:
        message = f"The permission for {subject} was given for something else: {'; '.join(differing)}."
        return [Notice(message=message, reason=DIFFERS)]
    return []


def parse_last_day(text: str) -> datetime.date | None:
    """An ISO date, None for no end.

    Raises:
        InvalidInput: it is no date such as 2027-12-31.
    """
    if not text:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"authorization_until = {text!r} is not a date; write it as 2027-12-31.",
            reason="BAD_SETTING",
            field="authorization_until",
        ) from error
