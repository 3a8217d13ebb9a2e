"""A command on a terminal of its own, and what a person sees there."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl

_TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])", re.DOTALL)


class Terminal:
    """Runs a command in a pseudo terminal of so many columns; ``screen`` is what scrolled by and what stands there."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, columns: int = 100) -> None:
        master, slave = pty.openpty()
        self._master = master
        self.resize(columns)
        kept = {name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command, env={**kept, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.raw = b""

    def resize(self, columns: int) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def read_until(self, is_there: Callable[[str], bool], *, deadline_s: float) -> str:
        """The screen once it shows what is looked for, or once the command has ended."""
        end = time.monotonic() + deadline_s
        while not is_there(self.screen):
            assert time.monotonic() < end, f"not seen in {deadline_s} s:\n{self.screen}"
            if not self._read(0.2) and self.process.poll() is not None:
                break
        return self.screen

    def close(self) -> int:
        """Read the rest; answers with the exit code."""
        while self._read(1.0) or self.process.poll() is None:
            pass
        os.close(self._master)
        return self.process.wait()

    @property
    def screen(self) -> str:
        return render(self.raw.decode("utf-8", "replace"))

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        try:
            got = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.raw += got
        return bool(got)


def render(text: str) -> str:
    """Lines as they stand after cursor movements and deletions; colours and wrapping are left out."""
    lines, row, column = [""], 0, 0
    for match in _TOKEN.finditer(text):
        number, letter, back, down, sign = match.groups()
        if back:
            column = 0
        elif down:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif sign:
            lines[row] = lines[row].ljust(column)[:column] + sign + lines[row][column + 1 :]
            column += 1
        elif letter == "A":
            row = max(row - int(number or 1), 0)
        elif letter == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
    return "\n".join(line.rstrip() for line in lines)
