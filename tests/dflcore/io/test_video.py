"""Movies: exact numbers, exact frames, and tags that are obeyed."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.open_plate import open_plate
from dflcore.io.video import exact_rate, write_movie

HEIGHT, WIDTH = 48, 64
WEIGHTS = {"709": (0.2126, 0.0722), "601": (0.299, 0.114), "2020": (0.2627, 0.0593)}
MATRIX_NUMBERS = {"709": Colorspace.ITU709, "601": Colorspace.ITU601, "2020": Colorspace.BT2020}


def _codes(rgb, bits, matrix, is_full):
    """R'G'B' → integer Y'CbCr code values, by the book."""
    red_weight, blue_weight = WEIGHTS[matrix]
    red, green, blue = rgb
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = ((blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight))
    step = 2 ** (bits - 8)
    if is_full:
        top = 2**bits - 1
        return round(luma * top), *(round(c * top + 2 ** (bits - 1)) for c in chroma)
    return round((219 * luma + 16) * step), *(round((224 * c + 128) * step) for c in chroma)


def _frame(codes, pix_fmt):
    """A flat frame of three code values, planes filled by hand."""
    frame = av.VideoFrame(WIDTH, HEIGHT, pix_fmt)
    for plane, code in zip(frame.planes, codes, strict=True):
        dtype = np.uint8 if frame.format.components[0].bits == 8 else np.dtype("<u2")
        plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, code, dtype).tobytes())
    return frame


def _encode(path, frames, codec="ffv1", rate=24, tags=None, pts=None, options=None, container_options=None):
    """Write frames as they are; ``tags`` = (matrix, range) or None for untagged."""
    base = Fraction(1, 24000) if pts else Fraction(1, rate)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        frames = list(frames)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        stream.time_base = stream.codec_context.time_base = base
        if tags:
            stream.codec_context.colorspace, stream.codec_context.color_range = tags
        for index, frame in enumerate(frames):
            frame.pts = pts[index] * 24000 // rate if pts else index
            frame.time_base = base
            if tags:
                frame.colorspace, frame.color_range = tags
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


COLOR = (0.8, 0.35, 0.15)


@pytest.mark.parametrize("matrix", ["709", "601", "2020"])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv422p10le", 10), ("yuv444p12le", 12)])
def test_matrix_and_range_are_obeyed(tmp_path, matrix, is_full, pix_fmt, bits):
    tags = (MATRIX_NUMBERS[matrix], ColorRange.JPEG if is_full else ColorRange.MPEG)
    codes = _codes(COLOR, bits, matrix, is_full)
    path = _encode(tmp_path / "a.mkv", [_frame(codes, pix_fmt)], tags=tags)
    plate = open_plate(str(path))
    image = plate.read(1)
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.pixels.dtype == np.float32
    np.testing.assert_allclose(image.pixels, np.broadcast_to(COLOR, image.pixels.shape), atol=1.6 / 2**bits)
    assert [notice.reason for notice in plate.notices] == ["COLOR_SPACE_ASSUMED"]
    assert image.channel_types == ("uint8" if bits == 8 else "uint16",) * 3


@pytest.mark.parametrize(("height", "matrix"), [(576, "601"), (720, "709")])
def test_missing_tags_are_chosen_by_custom_and_said(tmp_path, height, matrix):
    frame = av.VideoFrame(64, height, "yuv444p")
    for plane, code in zip(frame.planes, _codes(COLOR, 8, matrix, False), strict=True):
        plane.update(np.full(plane.buffer_size, code, np.uint8).tobytes())
    plate = open_plate(str(_encode(tmp_path / "a.mkv", [frame])))
    np.testing.assert_allclose(plate.read(1).pixels[0, 0], COLOR, atol=1 / 128)
    messages = [notice.message for notice in plate.notices if notice.reason == "MOVIE_TAGS_ASSUMED"]
    assert any(f"BT.{matrix}" in message for message in messages)
    assert any("limited" in message for message in messages)


def test_whiter_than_white_and_blacker_than_black_survive(tmp_path):
    tags = (Colorspace.ITU709, ColorRange.MPEG)
    path = _encode(
        tmp_path / "a.mkv", [_frame((1019, 512, 512), "yuv422p10le"), _frame((4, 512, 512), "yuv422p10le")], tags=tags
    )
    plate = open_plate(str(path))
    np.testing.assert_allclose(plate.read(1).pixels, (1019 - 64) / 876, atol=1e-5)
    np.testing.assert_allclose(plate.read(2).pixels, (4 - 64) / 876, atol=1e-5)


def test_chroma_is_sited_left_and_interpolated(tmp_path):
    frame = _frame((126, 128, 128), "yuv420p")
    row = np.full(frame.planes[2].line_size, 128, np.uint8)
    row[: WIDTH // 2] = 128 + np.arange(WIDTH // 2)
    frame.planes[2].update(np.tile(row, HEIGHT // 2).tobytes())
    image = open_plate(str(_encode(tmp_path / "a.mkv", [frame], tags=(Colorspace.ITU709, ColorRange.MPEG)))).read(1)
    red = (image.pixels[5, :, 0] - image.pixels[5, 0, 0]) * 224 / (2 * (1 - 0.2126))
    np.testing.assert_allclose(red[: WIDTH - 1], np.arange(WIDTH - 1) / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "codes", "expected"),
    [
        ("gbrp", "utvideo", (100, 50, 200), [200 / 255, 100 / 255, 50 / 255]),
        ("gbrp10le", "ffv1", (100, 50, 900), [900 / 1023, 100 / 1023, 50 / 1023]),
        ("gray", "ffv1", (126,), [110 / 219] * 3),
        ("nv12", "rawvideo", (126, 128), [110 / 219] * 3),
        ("rgb24", "png", (77,), [77 / 255] * 3),
        ("rgb48le", "ffv1", (0x1234,), [0x1234 / 65535] * 3),
    ],
)
def test_other_layouts(tmp_path, pix_fmt, codec, codes, expected):
    suffix = {"utvideo": ".avi", "png": ".mov"}.get(codec, ".mkv")
    image = open_plate(str(_encode(tmp_path / f"a{suffix}", [_frame(codes, pix_fmt)], codec=codec))).read(1)
    np.testing.assert_allclose(image.rgb()[3, 3], expected, atol=1e-6)


def test_prores_and_alpha(tmp_path):
    frame = _frame((800, 512, 512, 512), "yuva444p10le")
    path = _encode(tmp_path / "a.mov", [frame, frame], codec="prores_ks", options={"profile": "4", "alpha_bits": "16"})
    plate = open_plate(str(path))
    image = plate.read(2)
    assert image.channel_names == ("R", "G", "B", "A")
    np.testing.assert_allclose(image.alpha(), 0.5, atol=2e-3)
    np.testing.assert_allclose(image.rgb(), (800 - 64) / 876, atol=4e-3)
    assert not image.premultiplied


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {"g": "12", "bf": "3", "crf": "1"}),
        ("libx264", ".mkv", {"g": "250", "bf": "2", "crf": "1"}),
        ("prores_ks", ".mov", {}),
        ("libx264", ".avi", {"g": "12", "bf": "2", "crf": "1"}),
        ("ffv1", ".avi", {}),
        ("mjpeg", ".mov", {"q": "1"}),
        ("mpeg2video", ".mxf", {"g": "8", "bf": "2", "b": "50M"}),
    ],
)
def test_frames_by_number_in_any_order(tmp_path, codec, suffix, options):
    pix_fmt = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    frames = [_luma_frame(index, pix_fmt) for index in range(50)]
    path = _encode(tmp_path / f"a{suffix}", frames, codec=codec, options=options, rate=25)
    plate = open_plate(str(path))
    assert plate.frames.frames == tuple(range(1, 51))
    assert plate.rate == 25
    seen = {frame: _number_of(plate.read(frame)) for frame in plate.frames}
    assert seen == {frame: frame for frame in plate.frames}
    for frame in (50, 1, 25, 24, 26, 2, 49, 13, 12):
        assert _number_of(plate.read(frame)) == frame
    plate.close()


def _luma_frame(index, pix_fmt):
    step = 4 if "10" in pix_fmt else 1
    return _frame(((20 + 4 * index) * step, 128 * step, 128 * step), pix_fmt)


def _number_of(image):
    """Which of the 50 frames this is; a full-range JPEG has another black."""
    value = float(image.pixels.mean())
    code = value * 255 if image.source_path.suffix == ".mov" and image.channel_types[0] == "uint8" else value * 219 + 16
    return round((code - 20) / 4) + 1


def test_variable_rate_counts_frames_not_time(tmp_path):
    pts = [0, 1, 2, 10, 11, 40, 41, 90]
    frames = [_luma_frame(index, "yuv420p") for index in range(len(pts))]
    path = _encode(tmp_path / "a.mp4", frames, codec="libx264", options={"crf": "1"}, pts=pts)
    plate = open_plate(str(path))
    assert plate.frames.frames == tuple(range(1, 9))
    assert [_number_of(plate.read(frame)) for frame in plate.frames] == list(range(1, 9))


@pytest.mark.parametrize(("degrees", "size"), [(90, (HEIGHT, WIDTH)), (180, (WIDTH, HEIGHT)), (-90, (HEIGHT, WIDTH))])
def test_rotation_is_applied(tmp_path, degrees, size):
    frame = _frame((235, 128, 128), "yuv420p")
    luma = np.full((HEIGHT, frame.planes[0].line_size), 16, np.uint8)
    luma[: HEIGHT // 2, : WIDTH // 2] = 235  # top left is white
    frame.planes[0].update(luma.tobytes())
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    plate = open_plate(str(path))
    assert plate.size == size
    pixels = plate.read(1).pixels
    assert pixels.shape[:2] == size[::-1]
    height, width = pixels.shape[:2]
    white = np.array([pixels[y::height, x::width, 1].max() for y in (4, height - 5) for x in (4, width - 5)])
    turned = (stream_rotation(path) // 90) % 4
    expected = np.rot90(np.array([[1, 0], [0, 0]]), turned).ravel()
    np.testing.assert_allclose(white, expected, atol=0.1)
    assert any(notice.reason == "MOVIE_ROTATED" for notice in plate.notices)


def stream_rotation(path):
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).rotation


def test_time_code_and_rate_are_carried(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("prores_ks", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv422p10le"
        stream.metadata["timecode"] = "01:00:59:22"
        for _ in range(4):
            container.mux(stream.encode(_frame((512, 512, 512), "yuv422p10le")))
        container.mux(stream.encode(None))
    plate = open_plate(str(tmp_path / "a.mov"))
    assert plate.read(1).metadata["smpte:TimeCode"].value == (0x01005922, 0)
    assert plate.read(3).metadata["smpte:TimeCode"].value == (0x01010000, 0)
    assert plate.read(1).metadata["FramesPerSecond"].value == (24, 1)


def test_hdr_must_be_stated(tmp_path):
    path = _encode(tmp_path / "a.mkv", [_frame((512, 512, 512), "yuv420p10le")])
    with av.open(str(tmp_path / "b.mkv"), "w") as container:
        stream = container.add_stream("libx265", rate=24, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        stream.codec_context.color_trc = 16
        stream.codec_context.color_primaries = 9
        container.mux(stream.encode(_frame((512, 512, 512), "yuv420p10le")))
        container.mux(stream.encode(None))
    assert open_plate(str(path)).color_space == "srgb_tx"
    with pytest.raises(InvalidInput, match="PQ"):
        open_plate(str(tmp_path / "b.mkv"))
    stated = open_plate(str(tmp_path / "b.mkv"), color_space="Rec.2100-PQ - Display")
    assert stated.color_space == "Rec.2100-PQ - Display"


def test_range_and_identity(tmp_path):
    path = _encode(tmp_path / "a.mkv", [_luma_frame(index, "yuv420p") for index in range(5)])
    assert open_plate(str(path), frames=FrameRange.parse("2-4")).frames.frames == (2, 3, 4)
    with pytest.raises(NotFound, match="6-7"):
        open_plate(str(path), frames=FrameRange.parse("4-7"))
    plate = open_plate(str(path), frames=FrameRange.parse("4-7"), missing="skip")
    assert plate.frames.frames == (4, 5)
    with pytest.raises(NotFound, match="1-5"):
        plate.read(6)
    assert plate.identity(1) != plate.identity(2)


def test_movie_without_video(tmp_path):
    path = tmp_path / "sound.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(InvalidInput, match="no video") as caught:
        open_plate(str(path))
    assert caught.value.reason == "NO_VIDEO"


def test_movies_that_are_none(tmp_path):
    with pytest.raises(NotFound):
        open_plate(str(tmp_path / "none.mov"))
    for content in (b"", b"not a movie at all", np.random.default_rng(2).bytes(5000)):
        (tmp_path / "a.mov").write_bytes(content)
        with pytest.raises(DataCorrupt, match=r"a\.mov"):
            open_plate(str(tmp_path / "a.mov"))
    (tmp_path / "list.mov").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    with pytest.raises(DataCorrupt):
        open_plate(str(tmp_path / "list.mov"))


def test_truncated_movie(tmp_path):
    generator = np.random.default_rng(3)
    frames = []
    for _ in range(20):
        pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        frames.append(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv422p10le"))
    path = _encode(tmp_path / "a.mov", frames, codec="prores_ks", container_options={"movflags": "faststart"})
    data = path.read_bytes()
    if data.index(b"moov") > len(data) // 2:
        pytest.skip("this muxer writes its index at the end")
    path.write_bytes(data[: len(data) // 2])
    plate = open_plate(str(path))
    plate.read(1)
    with pytest.raises(DataCorrupt, match="Frame 20"):
        plate.read(20)
    plate.read(2)


def test_review_movie(tmp_path):
    colors = [(200, 60, 40), (30, 200, 90), (20, 40, 220)]
    frames = [np.full((HEIGHT + 1, WIDTH + 1, 3), color, np.uint8) for color in colors]
    path = tmp_path / "new" / "review.mp4"
    assert write_movie(path, iter(frames), 23.976) == 3
    plate = open_plate(str(path))
    assert plate.frames.frames == (1, 2, 3)
    assert plate.size == (WIDTH, HEIGHT)
    assert plate.rate == pytest.approx(24000 / 1001)
    assert [notice.reason for notice in plate.notices] == ["COLOR_SPACE_ASSUMED"]  # matrix and range are tagged
    for frame, color in enumerate(colors, start=1):
        mean = plate.read(frame).rgb().mean(axis=(0, 1)) * 255
        np.testing.assert_allclose(mean, color, atol=3)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_review_movie_refusals(tmp_path):
    small, large = np.zeros((16, 16, 3), np.uint8), np.zeros((32, 16, 3), np.uint8)
    with pytest.raises(InvalidInput, match="No frames"):
        write_movie(tmp_path / "a.mp4", iter(()), 24)
    with pytest.raises(InvalidInput, match="Frame 2"):
        write_movie(tmp_path / "a.mp4", [small, large], 24)
    with pytest.raises(InvalidInput, match="review movie"):
        write_movie(tmp_path / "a.exr", [small], 24)
    with pytest.raises(InvalidInput, match="frame rate"):
        write_movie(tmp_path / "a.mp4", [small], 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (24, Fraction(24)),
        (25.0, Fraction(25)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_rates(rate, expected):
    assert exact_rate(rate) == expected
