"""Certificates as docs/remote.md has a studio make them: by exactly its lines."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

MANUAL = Path(__file__).parents[2] / "docs" / "remote.md"
_BLOCK = re.compile(r"^```\n((?:(?!```).*\n)*?openssl .*\n(?:(?!```).*\n)*)```$", re.MULTILINE)
DAEMON, WORKSTATION, AUTHORITY = "farm", "ws01", "studio-ca"


def manual_lines() -> str:
    """All blocks of the manual that make certificates."""
    blocks = [match[1] for match in _BLOCK.finditer(MANUAL.read_text(encoding="utf-8"))]
    assert blocks, "the manual has lost its lines"
    return "".join(blocks)


def make_certificates(folder: Path, names: str = "DNS:farm.example,IP:127.0.0.2") -> Path:
    """``studio-ca.pem``, and ``.pem`` and ``.key`` of ``farm`` and ``ws01``; the daemon is known by ``names``."""
    folder.mkdir(parents=True, exist_ok=True)
    script = manual_lines().replace("DNS:farm.example", names)
    try:
        subprocess.run(["sh", "-e"], input=script.encode(), cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no certificates can be made here: {error}")
    return folder


def daemon_settings_of(folder: Path) -> dict[str, Path]:
    """What the daemon is told."""
    return {
        "tls_certificate": folder / f"{DAEMON}.pem",
        "tls_key": folder / f"{DAEMON}.key",
        "tls_client_ca": folder / f"{AUTHORITY}.pem",
    }
