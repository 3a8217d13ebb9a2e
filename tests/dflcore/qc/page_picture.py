"""A picture of a report's page for the manual, taken by a headless Chromium.

::

    python tests/dflcore/qc/page_picture.py demo_swap.qc.html docs/images/qc.jpg --before Performance
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))

from chromium import Chromium, find_chromium

WIDTH_PX = 1240


def photograph(page: Path, *, before: str = "", scale: float = 0.75, quality: int = 80) -> bytes:
    """JPEG of a page in light colours, from the top to the heading ``before``, or all of it."""
    program = find_chromium()
    if program is None:
        sys.exit("There is no Chromium on this machine.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, Path(profile), width=WIDTH_PX, height=1000)
        try:
            browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
            browser.open(page.resolve().as_uri())
            height = browser.evaluate(
                f"[...document.querySelectorAll('h2')].find((one) => one.textContent === {json.dumps(before)})"
                "?.getBoundingClientRect().top ?? document.documentElement.scrollHeight"
            )
            clip = {"x": 0, "y": 0, "width": WIDTH_PX, "height": height - (24 if before else 0), "scale": scale}
            taken = browser.call(
                "Page.captureScreenshot", format="jpeg", quality=quality, captureBeyondViewport=True, clip=clip
            )
            return base64.b64decode(taken["data"])
        finally:
            browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take a picture of a report's page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("jpeg", type=Path)
    parser.add_argument("--before", default="", help="heading to stop at")
    options = parser.parse_args()
    options.jpeg.write_bytes(photograph(options.page, before=options.before))


if __name__ == "__main__":
    main()
