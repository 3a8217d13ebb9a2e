"""The question who allowed it is asked once, of a person, where no record is."""

import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dfldaemon.cli import authorization
from dfldaemon.cli.authorization import ask_authorization
from dfldaemon.cli.output import Output


class Terminal(Output):
    can_ask = True


@pytest.fixture
def answers(monkeypatch):
    """Answers to give, in order; what is left over was not asked for."""
    given = []
    monkeypatch.setattr(authorization.Prompt, "ask", lambda *_, **__: given.pop(0))
    return given


def ask(output, settings_class, given=(), is_recorded=False):
    return ask_authorization(output, settings_class, dict(given), is_recorded=lambda: is_recorded)


def test_answers_become_settings(answers):
    answers += ["Eileen", "shot 12", ""]
    assert ask(Terminal(), ExtractSettings) == {
        "authorization_person": "Eileen",
        "authorization_project": "shot 12",
    }
    assert answers == []


def test_an_empty_first_answer_skips_the_rest(answers):
    answers += ["", "never asked"]
    assert ask(Terminal(), MergeSettings) == {}
    assert answers == ["never asked"]


def test_only_settings_of_the_command_are_asked_for(answers):
    answers += ["shot 12", "trailer"]
    assert set(ask(Terminal(), MergeSettings)) == {"authorization_project", "authorization_use"}


def test_nobody_is_asked_without_need(answers):
    assert ask(Output(is_json=True), MergeSettings) == {}
    assert ask(Terminal(), MergeSettings, {"authorization_use": "x"}) == {}
    assert ask(Terminal(), MergeSettings, is_recorded=True) == {}
