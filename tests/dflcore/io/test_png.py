"""PNG files hold what they are given, text included, and any reader takes them."""

import cv2
import numpy as np
import pytest

from dflcore.errors import DataCorrupt
from dflcore.io.png import encode_png, png_text


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_and_text_come_back(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, channels), dtype=np.uint8)
    text = {"dfl/synthetic": "1", "dfl/model": "Zoë, Größe 256 → ok", "empty": ""}
    data = encode_png(pixels, text)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(shown.reshape(7, 5, channels)[..., ::-1], pixels)
    assert png_text(data) == text
    assert png_text(encode_png(pixels, {})) == {}


def test_readers_with_stricter_checks_take_it(tmp_path) -> None:
    """Checksums and chunk order are looked at by OpenImageIO's reader."""
    from dflcore.io.stills import read_still

    pixels = np.full((4, 6, 3), 200, np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(pixels, {"dfl/synthetic": "1"}))
    image = read_still(tmp_path / "a.png")
    assert np.array_equal(image.pixels, pixels)
    assert image.metadata["dfl/synthetic"].value == "1"


@pytest.mark.parametrize("cut", [0, 5, 40, -12])
def test_what_is_cut_short_is_told(cut: int) -> None:
    data = encode_png(np.zeros((3, 3, 3), np.uint8), {"a": "b"})
    with pytest.raises(DataCorrupt):
        png_text(data[:cut])
