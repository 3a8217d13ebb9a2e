"""Whether the setting ``ocio_config`` names a file, told without loading OpenColorIO."""

from __future__ import annotations

import re

BUILTIN_PREFIX = "ocio://"
_BUILTIN_NAME = re.compile(r"(cg|studio)-config-v[\w.-]+")


def is_builtin_config(text: str) -> bool:
    """It is a config inside OpenColorIO, not a file; whether this build has it is found out when it is opened.

    A test holds this together with OpenColorIO's own list.
    """
    return text.startswith(BUILTIN_PREFIX) or _BUILTIN_NAME.fullmatch(text) is not None
