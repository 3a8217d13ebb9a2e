"""A headless Chromium driven over its DevTools protocol through a pair of pipes: no driver program, no open port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DEADLINE_S = 60.0
"""A busy machine starts a browser slowly."""
FOREIGN_HOST = "elsewhere.example"
"""A name of somebody else's that leads to this machine, as after a rebinding of its DNS entry."""
_FIRST_HIGH_DESCRIPTOR = 100
# The browser reads commands from descriptor 3 and writes to 4; which numbers the pipes have here is up to chance.
_TRAMPOLINE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
CONTROL, SHIFT = 2, 8
_NAMED_KEYS = {"Enter": 13, "Escape": 27, "Delete": 46, "ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35}


def find_chromium() -> str | None:
    """A browser installed on this machine, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class PageFailed(AssertionError):
    """A script of the page threw, or the browser refused something."""


class Chromium:
    """One browser with one page.

    Attributes:
        console: what the page's scripts wrote or threw, and what the browser complained of.
        requested: every address that was asked for.
    """

    def __init__(self, program: str, profile: Path, *, width: int = 1440, height: int = 900) -> None:
        commands, ours = _high_pipe()
        theirs, answers = _high_pipe()
        self._to, self._from = ours, theirs
        arguments = [
            "--headless",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "--no-first-run",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            f"--host-resolver-rules=MAP {FOREIGN_HOST} 127.0.0.1",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        trampoline = [sys.executable, "-c", _TRAMPOLINE, str(commands), str(answers), program, *arguments]
        self._process = subprocess.Popen(
            trampoline, pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._number = 0
        self._session = ""
        self._loads = 0
        self.console: list[str] = []
        self.requested: list[str] = []
        target = self.call("Target.createTarget", url="about:blank", width=width, height=height)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come before it are taken note of."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(DEADLINE_S)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageFailed(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait_for("document.body?.dataset.ready === 'yes'")

    def reload(self) -> None:
        self.evaluate("document.body.dataset.ready = ''")
        self.call("Page.reload")
        self.wait_for("document.body?.dataset.ready === 'yes'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise PageFailed(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, expression: str, deadline_s: float = DEADLINE_S) -> Any:
        """Until an expression is true; its value."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                if value := self.evaluate(expression):
                    return value
            except PageFailed:  # the page is being replaced
                pass
            if time.monotonic() > end:
                raise PageFailed(f"never came true: {expression}; console: {self.console}")
            time.sleep(0.03)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def move(self, x: float, y: float, modifiers: int = 0) -> None:
        self.mouse("mouseMoved", x, y, modifiers=modifiers)

    def click(self, x: float, y: float, *, modifiers: int = 0, button: str = "left") -> None:
        self.drag((x, y), (x, y), modifiers=modifiers, button=button)

    def drag(
        self, start: tuple[float, float], stop: tuple[float, float], *, modifiers: int = 0, button: str = "left"
    ) -> None:
        """Press at one place, let go at another, with moves in between as a hand makes them."""
        bit = {"left": 1, "right": 2, "middle": 4}[button]
        self.move(*start, modifiers=modifiers)
        self.mouse("mousePressed", *start, button=button, buttons=bit, clickCount=1, modifiers=modifiers)
        if stop != start:
            middle = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
            for place in (middle, stop):
                self.mouse("mouseMoved", *place, button=button, buttons=bit, modifiers=modifiers)
        self.mouse("mouseReleased", *stop, button=button, clickCount=1, modifiers=modifiers)

    def wheel(self, x: float, y: float, delta: float) -> None:
        self.mouse("mouseWheel", x, y, deltaX=0, deltaY=delta)

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press and let go of a key, named as the page sees it."""
        code = f"Key{key.upper()}" if len(key) == 1 and key.isalpha() else f"Digit{key}" if key.isdigit() else key
        number = _NAMED_KEYS.get(key, ord(key[0].upper()))
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser, however it feels."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _read(self, deadline_s: float) -> dict[str, Any]:
        end = time.monotonic() + deadline_s
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(end - time.monotonic(), 0.0))
            data = os.read(self._from, 1 << 16) if ready else b""
            if not data:
                raise PageFailed("the browser says nothing any more")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.console.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.console.append(str([one.get("value") for one in parameters["args"]]))
        elif method == "Log.entryAdded":
            entry = parameters["entry"]
            self.console.append(f"{entry['text']} {entry.get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.call("Page.handleJavaScriptDialog", accept=True)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose descriptors are none of those the browser is told to use."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_HIGH_DESCRIPTOR) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]
