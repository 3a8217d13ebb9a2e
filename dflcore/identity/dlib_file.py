"""dlib's network files: its serialization format, and the weights of its face recognition network read from it.

Format (facts of dlib's documentation and of the files):
    An integer is a control byte, whose low 4 bits count the bytes that follow (little-endian magnitude) and whose top
    bit is the sign. A real is two integers m and e, its value m * 2^e. A string is its length and its bytes, a truth
    value the character 0 or 1. A tensor is the version 2, four dimensions (samples, channels, rows, columns) and
    little-endian float32. A network is one version per layer, from the loss inwards, and then what each layer holds,
    from the input outwards: a name, its own fields, three truth values and three tensors of what it last computed.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from dflcore.errors import DataCorrupt, NotFound
from dflcore.types import FloatArray

CHIP_PX: Final = 150
"""Side of the square picture of a face that the network looks at."""
DESCRIPTOR_SIZE: Final = 128
STEM_CHANNELS: Final = 32
STEM_KERNEL: Final = 7
KERNEL: Final = 3
BLOCKS: Final[tuple[tuple[int, bool], ...]] = (
    *((32, False),) * 3,
    (64, True),
    *((64, False),) * 3,
    (128, True),
    *((128, False),) * 2,
    (256, True),
    *((256, False),) * 2,
    (256, True),
)
"""Channels of each residual block, and whether it halves the picture."""

_MAX_FILE_BYTES = 64 << 20
"""The file has 22 MB; more than this is something else, and is not read."""
_MAX_LAYERS = 1000
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """A convolution and the affine layer behind it, as one convolution.

    Attributes:
        weight: (out channels, in channels, rows, columns).
        bias: (out channels,).
    """

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True, slots=True)
class FaceNetworkWeights:
    """The trained numbers of dlib's face recognition network.

    Attributes:
        mean: (3,) R, G and B of the mean picture, in sRGB codes 0..255; subtracted before dividing by 256.
        stem: 7x7 convolution of stride 2.
        blocks: two 3x3 convolutions each, in the order of :data:`BLOCKS`.
        projection: (256, 128) matrix from the mean of the last block to the descriptor.
    """

    mean: FloatArray
    stem: ConvWeights
    blocks: tuple[tuple[ConvWeights, ConvWeights], ...]
    projection: FloatArray


def read_face_network(path: Path) -> FaceNetworkWeights:
    """The weights of ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises:
        NotFound: there is no such file.
        DataCorrupt: it is damaged, or something else.
    """
    source = _Source(_read_bytes(path), path)
    mean = _read_head(source)
    stem = _read_conv(source, 3, STEM_CHANNELS, STEM_KERNEL, 2, is_first=True)
    _read_relu(source)
    _read_pool(source, "max_pool_2", 3, 2)
    blocks = []
    before = STEM_CHANNELS
    for channels, halves in BLOCKS:
        first = _read_conv(source, before, channels, KERNEL, 2 if halves else 1)
        _read_relu(source)
        second = _read_conv(source, channels, channels, KERNEL, 1)
        if halves:
            _read_pool(source, "avg_pool_2", 2, 2)
        source.expect_name("add_prev_")
        source.skip_layer_end()
        _read_relu(source)
        blocks.append((first, second))
        before = channels
    _read_pool(source, "avg_pool_2", 0, 1)  # a window of 0 is the whole picture
    return FaceNetworkWeights(mean, stem, tuple(blocks), _read_projection(source, before))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= _MAX_FILE_BYTES:
                return stream.read(size)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", reason="WEIGHTS_MISSING", path=path) from error
    except OSError as error:
        raise DataCorrupt(
            f"The weights {path} cannot be read: {error}.", reason="WEIGHTS_DAMAGED", path=path
        ) from error
    raise DataCorrupt(
        f"The file {path} is too large to be the weights of dlib's face recognition network: {size} bytes. Get the "
        "file again.",
        reason="WEIGHTS_DAMAGED",
        path=path,
    )


class _Source:
    """Reads dlib's values one after the other; every method raises DataCorrupt for what cannot be."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data = data
        self._path = path
        self._at = 0

    def fail(self, what: str) -> NoReturn:
        raise DataCorrupt(
            f"The weights {self._path} are damaged, or not those of dlib's face recognition network: {what} at byte "
            f"{self._at}. Get the file again.",
            reason="WEIGHTS_DAMAGED",
            path=self._path,
        )

    def take(self, count: int) -> bytes:
        """The next bytes."""
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            self.fail("the file ends too early")
        self._at += count
        return part

    def integer(self) -> int:
        control = self.take(1)[0]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            self.fail("no integer where one should be")
        magnitude = int.from_bytes(self.take(size), "little")
        return -magnitude if control & 0x80 else magnitude

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1000:  # dlib marks infinities and what is no number by exponents of 32000 and more
            self.fail("a number without a value")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            self.fail("a number beyond all bounds")

    def tensor(self) -> FloatArray:
        """The numbers of a tensor in their order, (n,) float32, a view of the file's bytes."""
        self.expect_integers("a tensor", 2)
        shape = tuple(self.integer() for _ in range(4))
        size = math.prod(shape)
        if min(shape) < 0 or 4 * size > len(self._data) - self._at:
            self.fail(f"a tensor of {' x '.join(map(str, shape))} numbers")
        values = np.frombuffer(self._data, dtype="<f4", count=size, offset=self._at)
        self._at += 4 * size
        return values

    def expect_integers(self, what: str, *wanted: int) -> None:
        for one in wanted:
            found = self.integer()
            if found != one:
                self.fail(f"{what} says {found} instead of {one}")

    def expect_name(self, wanted: str) -> None:
        size = self.integer()
        if not 0 <= size <= _MAX_NAME:
            self.fail(f"no {wanted!r} where it should be")
        found = self.take(size)
        if found != wanted.encode():
            self.fail(f"{found.decode('latin-1')!r} instead of {wanted!r}")

    def skip_layer_end(self) -> None:
        """What each layer remembers of its last run."""
        if any(one not in b"01" for one in self.take(3)):
            self.fail("no truth value where one should be")
        for _ in range(3):
            self.tensor()

    def expect_end(self) -> None:
        if self._at != len(self._data):
            self.fail("more data than there should be")


def _read_head(source: _Source) -> FloatArray:
    """All before the first layer; returns the mean picture's colour."""
    source.expect_integers("the loss layer", 1)
    source.expect_name("loss_metric_2")
    source.real()  # margin and distance threshold, for training
    source.real()
    for _ in range(_MAX_LAYERS):
        version = source.integer()
        if version not in (1, 2):
            break
    if version != 3:
        source.fail(f"a layer of version {version}")
    source.expect_name("input_rgb_image_sized")
    mean = np.array([source.real() for _ in range(3)])
    if not (np.abs(mean) <= 255.0).all():
        source.fail("a mean colour that is none")
    source.expect_integers("the input layer", CHIP_PX, CHIP_PX)
    return mean.astype(np.float32)


def _read_conv(
    source: _Source, before: int, channels: int, kernel: int, stride: int, *, is_first: bool = False
) -> ConvWeights:
    """A convolution with its affine layer; ``before`` counts the channels of its input."""
    padding = kernel // 2 if stride == 1 else 0
    source.expect_name("con_4")
    values = source.tensor()
    source.expect_integers("a convolution", channels, kernel, kernel, stride, stride, padding, padding)
    source.expect_integers("a convolution's filters", 1, channels, before, kernel, kernel)
    source.expect_integers("a convolution's biases", 1, 1, channels, 1, 1)
    _skip_rates(source)
    source.skip_layer_end()
    if is_first:
        source.expect_integers("the first layer", 1)  # how many tensors the input makes of a picture
    source.expect_name("affine_")
    affine = source.tensor()
    for what in ("gains", "offsets"):
        source.expect_integers(f"an affine layer's {what}", 1, 1, channels, 1, 1)
    source.expect_integers("an affine layer", 0)  # one gain per channel
    source.skip_layer_end()
    filters = channels * before * kernel * kernel
    if values.size != filters + channels or affine.size != 2 * channels:
        source.fail("a convolution of another size")
    gain, offset = affine[:channels], affine[channels:]
    with np.errstate(all="ignore"):  # damaged numbers are found below
        weight = values[:filters].reshape(channels, before, kernel, kernel) * gain[:, None, None, None]
        bias = values[filters:] * gain + offset
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        source.fail("weights that are no numbers before")
    return ConvWeights(weight.astype(np.float32, copy=False), bias.astype(np.float32, copy=False))


def _read_relu(source: _Source) -> None:
    source.expect_name("relu_")
    source.skip_layer_end()


def _read_pool(source: _Source, name: str, window: int, stride: int) -> None:
    source.expect_name(name)
    source.expect_integers("a pooling layer", window, window, stride, stride, 0, 0)
    source.skip_layer_end()


def _read_projection(source: _Source, before: int) -> FloatArray:
    source.expect_name("fc_2")
    source.expect_integers("the last layer", DESCRIPTOR_SIZE, before)
    values = source.tensor()
    if values.size != before * DESCRIPTOR_SIZE or not np.isfinite(values).all():
        source.fail("weights that are no numbers before")
    source.expect_integers("the last layer's weights", 1, before, DESCRIPTOR_SIZE, 1, 1)
    source.expect_integers("the last layer's biases", 1, 0, 0, 0, 0)
    source.expect_integers("the last layer", 1)  # no biases
    _skip_rates(source)
    source.skip_layer_end()
    source.expect_end()
    return values.reshape(before, DESCRIPTOR_SIZE).astype(np.float32)


def _skip_rates(source: _Source) -> None:
    """Multipliers of learning rate and weight decay, of filters and of biases."""
    for _ in range(4):
        source.real()
