"""The page in a real browser: it opens, fetches nothing, shows values under the pointer and flips pictures."""

import pytest

from chromium import Chromium, find_chromium
from dflcore.config.qc import QcSettings
from dflcore.qc.review import review_shot
from small_facesets import Watcher

PROGRAM = find_chromium()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]


@pytest.fixture
def browser(make_shot, tmp_path):
    """A browser that shows the page of a shot whose frame 1005 pops; nothing may be complained of."""
    shot = make_shot(change=lambda frame, light, matte: light * (1.3 if frame == 1005 else 1.0))
    result = review_shot(
        shot.shot(), tmp_path / "r", QcSettings(), Watcher(), converter=shot.converter, examiner=shot.examiner
    )
    browser = Chromium(PROGRAM, tmp_path / "profile")
    try:
        browser.open(result.page.as_uri())
        assert [one for one in browser.requested if not one.startswith("data:")] == [result.page.as_uri()]
        yield browser
        assert browser.console == []
    finally:
        browser.close()


def test_values_follow_the_pointer(browser):
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


def test_a_result_flips_to_its_plate_while_pressed(browser):
    browser.evaluate("document.querySelector('#f1005 button').click()")
    assert browser.evaluate("document.querySelector('#f1005').classList.contains('large')")
    assert browser.evaluate("document.querySelector('#f1005 button').textContent") == "smaller"
    picture = "document.querySelector('#f1005 img[alt={}]')"
    own, plate = (browser.evaluate(picture.format(name) + ".src") for name in ("result", "plate"))
    assert own != plate
    press = picture.format("result") + ".dispatchEvent(new PointerEvent('{}'))"
    browser.evaluate(press.format("pointerdown"))
    assert browser.evaluate(picture.format("result") + ".src") == plate
    browser.evaluate(press.format("pointerup"))
    assert browser.evaluate(picture.format("result") + ".src") == own
