"""What the operating system says when a file of somebody else's cannot be read, in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dflcore.errors import InvalidInput


@contextlib.contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Raises InvalidInput (``NOT_READABLE``) for a file or folder that is there and may not be read."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror or error}. Check that this user may read it.",
            reason="NOT_READABLE",
            path=path,
        ) from error
