"""Ask once who allowed what, where a record is missing and a person sits at the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.prompt import Prompt

from dflcore.config.base import Settings
from dfldaemon.cli.output import Output

QUESTIONS = {
    "authorization_person": "Whose face is this?",
    "authorization_project": "For which project?",
    "authorization_use": "For what use?",
}
"""Setting → question; asked in this order as far as the command has the setting."""


def ask_authorization(
    output: Output,
    settings_class: type[Settings],
    given: dict[str, object],
    *,
    is_recorded: Callable[[], bool],
) -> dict[str, object]:
    """Settings to add to those given: the answers, or nothing.

    Nobody is asked who gave any part of the record as a flag, or where one is on record already, or where no person
    sits at the terminal: the job then says in a notice that the record is missing.

    Args:
        is_recorded: whether a record is there already; asked last, as it may need a call.
    """
    if any(name.startswith("authorization_") for name in given) or not output.can_ask or is_recorded():
        return {}
    output.remark("No authorisation is on record. Enter answers, or press Enter to skip; it is written to the results.")
    answers: dict[str, object] = {}
    for setting, question in QUESTIONS.items():
        if setting not in settings_class.model_fields:
            continue
        answer = Prompt.ask(question, console=output.error_console, default="", show_default=False).strip()
        if not answer and not answers:
            return {}  # skipped
        if answer:
            answers[setting] = answer
    return answers
