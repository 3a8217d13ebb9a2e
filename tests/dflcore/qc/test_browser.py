"""The page in a real browser: it opens, fetches nothing, and shows values under the pointer."""

import pytest

from chromium import Chromium, find_chromium
from dflcore.config.qc import QcSettings
from dflcore.qc.review import review_shot
from small_facesets import Watcher

PROGRAM = find_chromium()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]


def test_values_follow_the_pointer(make_shot, tmp_path):
    shot = make_shot(change=lambda frame, light, matte: light * (1.1 if frame == 1005 else 1.0))
    result = review_shot(
        shot.shot(), tmp_path / "r", QcSettings(), Watcher(), converter=shot.converter, examiner=shot.examiner
    )
    browser = Chromium(PROGRAM, tmp_path / "profile")
    try:
        browser.open(result.page.as_uri())
        assert [one for one in browser.requested if not one.startswith("data:")] == [result.page.as_uri()]
        browser.evaluate("document.querySelector('[data-measure=flicker]').scrollIntoView({block: 'center'})")
        box = browser.evaluate(
            "(() => { const one = document.querySelector('[data-measure=flicker]').getBoundingClientRect();"
            " return [one.x, one.y, one.width, one.height]; })()"
        )
        output = "document.querySelector('[data-measure=flicker]').closest('.measure').querySelector('output')"
        resting = browser.evaluate(f"{output}.textContent")
        assert "at 1005" in resting
        middle = (46 + 548) / 2 / 560  # where the fifth of nine frames is drawn
        browser.move(box[0] + box[2] * middle, box[1] + box[3] / 2)
        assert browser.evaluate(f"{output}.textContent").startswith("1005: ")
        browser.move(box[0] - 40, box[1] - 200)
        assert browser.evaluate(f"{output}.textContent") == resting
        assert browser.console == []
    finally:
        browser.close()
