"""Resolve's objects, asked so that a refusal is never taken for an answer.

Resolve raises almost nothing: what it will not do returns ``False``, ``None`` or an empty list, and some bridges answer
every name with something that cannot be called.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dflhost.errors import HostError

PAGES_WITH_TIMELINE = ("edit", "cut", "color", "deliver", "fusion", "fairlight")
WINDOWS_NEED_STUDIO = (19, 1)
"""From this version on the free edition answers a request for a window with a dialog of its own, and until somebody
closes that one, calls that have nothing to do with it fail."""
PYTHON_NEEDS_STUDIO = (21, 1)
OLDEST = (19, 0)
RECORD_VARIABLE = "DFL_RESOLVE_RECORD"
"""Names a file to which every call and its answer are added, one JSON object a line: material for tests."""


def ask(owner: Any, method: str, *arguments: Any) -> Any:
    """Whatever Resolve answers, an empty answer among it.

    Raises:
        HostError: the call does not exist in this Resolve, or the connection to it is gone (``RESOLVE_CALL_FAILED``).
    """
    call = getattr(owner, method, None) if owner is not None else None
    if not callable(call):
        raise HostError(
            f"This DaVinci Resolve has no call {method}; version {OLDEST[0]} Studio or newer is needed.",
            reason="RESOLVE_CALL_MISSING",
            category="UNSUPPORTED",
            details={"call": method},
        )
    try:
        answer = call(*arguments)
    except Exception as error:  # the bridge raises whatever it likes; the artist gets a sentence
        raise HostError(
            f"DaVinci Resolve broke off the call {method} ({type(error).__name__}: {error}).",
            reason="RESOLVE_CALL_FAILED",
            details={"call": method},
        ) from error
    _record(method, arguments, answer)
    return answer


def must(sentence: str, owner: Any, method: str, *arguments: Any) -> Any:
    """The answer of a call that says by an empty one that nothing was done.

    Args:
        sentence: what an artist is told then, without a full stop.

    Raises:
        HostError: as :func:`ask`; or Resolve refused (``RESOLVE_REFUSED``).
    """
    answer = ask(owner, method, *arguments)
    if answer is None or answer is False or answer in ("", [], {}):
        raise refusal(sentence, method)
    return answer


def refusal(sentence: str, method: str) -> HostError:
    """Resolve did not do what it was asked to."""
    return HostError(
        f"{sentence}. If DaVinci Resolve shows a dialog, close it and try again.",
        reason="RESOLVE_REFUSED",
        category="CONFLICT",
        details={"call": method},
    )


def listed(answer: Any) -> list[Any]:
    """A list of Resolve's, which may come as None or as a table counted from 1."""
    if not answer:
        return []
    if isinstance(answer, Mapping):
        return [answer[key] for key in sorted(answer)]
    return list(answer)


class Host:
    """One running Resolve.

    Args:
        resolve: what the menu script was given. fusion, bmd: the same, for windows; None where there are none.

    Attributes:
        product: ``DaVinci Resolve`` or ``DaVinci Resolve Studio``. version: (19, 1, 3).

    Raises:
        HostError: there is no Resolve (``RESOLVE_NOT_RUNNING``) or it is too old (``RESOLVE_TOO_OLD``).
    """

    def __init__(self, resolve: Any, fusion: Any = None, bmd: Any = None) -> None:
        if resolve is None:
            raise HostError(
                "DaVinci Resolve is not running, or does not let scripts in: start this from its Workspace menu, or "
                "set Preferences, General, External scripting to Local.",
                reason="RESOLVE_NOT_RUNNING",
                category="NOT_FOUND",
            )
        self.resolve, self.fusion, self.bmd = resolve, fusion, bmd
        self.product = str(ask(resolve, "GetProductName") or "")
        numbers = [part for part in listed(ask(resolve, "GetVersion")) if isinstance(part, (int, float))]
        self.version = tuple(int(number) for number in numbers[:3])
        if self.version and self.version[:2] < OLDEST:
            raise HostError(
                f"{self.product} {self.version_text} is too old: version {OLDEST[0]} or newer is needed.",
                reason="RESOLVE_TOO_OLD",
                category="UNSUPPORTED",
            )

    @property
    def is_studio(self) -> bool:
        """The edition that was paid for."""
        return self.product.endswith("Studio")

    @property
    def version_text(self) -> str:
        """``19.1.3``."""
        return ".".join(str(number) for number in self.version)

    @property
    def may_open_windows(self) -> bool:
        """Asking for a window does no harm. Decided before the call, since the call itself does it."""
        return self.is_studio or self.version[:2] < WINDOWS_NEED_STUDIO

    @property
    def project(self) -> Any:
        """The open project. Raises HostError."""
        manager = must("DaVinci Resolve does not answer", self.resolve, "GetProjectManager")
        return must("Open a project first", manager, "GetCurrentProject")

    @property
    def timeline(self) -> Any:
        """The open timeline. Raises HostError."""
        return must("Open a timeline first", self.project, "GetCurrentTimeline")

    @property
    def pool(self) -> Any:
        """The project's media pool. Raises HostError."""
        return must("The media pool cannot be reached", self.project, "GetMediaPool")

    @property
    def storage(self) -> Any:
        """Raises HostError."""
        return must("The media storage cannot be reached", self.resolve, "GetMediaStorage")


def _record(method: str, arguments: tuple[Any, ...], answer: Any) -> None:
    path = os.environ.get(RECORD_VARIABLE, "")
    if path:
        line = {"call": method, "arguments": [_plain(one) for one in arguments], "answer": _plain(answer)}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return f"<{type(value).__name__}>"
