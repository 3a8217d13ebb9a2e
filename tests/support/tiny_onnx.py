"""ONNX files of a few nodes, written byte by byte: the tests need no package that writes them.

Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx, Apache-2.0).
"""

from __future__ import annotations

import numpy as np

Dimension = int | str
FLOAT = 1


def color_matrix_x2(matrix: np.ndarray, bias: np.ndarray, shape: tuple[Dimension, ...] = (1, 3, "h", "w")) -> bytes:
    """NCHW: every pixel through ``matrix`` (3, 3) and ``bias`` (3,), then twice as large, pixels repeated."""
    weight = np.tile(matrix, (4, 1)).reshape(12, 3, 1, 1)
    nodes = [
        _node("Conv", ["x", "weight", "bias"], "wide"),
        _node("DepthToSpace", ["wide"], "y", blocksize=2),
    ]
    return _model(nodes, {"weight": weight, "bias": np.tile(bias, 4)}, shape, (1, 3, "h2", "w2"))


def color_matrix_nhwc(matrix: np.ndarray, shape: tuple[Dimension, ...] = (1, "h", "w", 3)) -> bytes:
    """NHWC, same size: every pixel through ``matrix`` (3, 3)."""
    return _model([_node("MatMul", ["x", "matrix"], "y")], {"matrix": matrix.T}, shape, (1, "oh", "ow", 3))


def stride_two(shape: tuple[Dimension, ...] = (1, 3, "h", "w")) -> bytes:
    """NCHW at half the size: no enhancer."""
    weight = np.eye(3).reshape(3, 3, 1, 1)
    return _model([_node("Conv", ["x", "weight"], "y", strides=[2, 2])], {"weight": weight}, shape, (1, 3, "p", "q"))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    message = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            attribute = _number(3, value) + _number(20, 2)
        else:
            attribute = b"".join(_number(8, one) for one in value) + _number(20, 7)
        message += _bytes(5, _bytes(1, name) + attribute)
    return message


def _tensor(name: str, values: np.ndarray) -> bytes:
    dimensions = b"".join(_number(1, size) for size in values.shape)
    return dimensions + _number(2, FLOAT) + _bytes(8, name) + _bytes(9, values.astype("<f4").tobytes())


def _value(name: str, shape: tuple[Dimension, ...]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, one) if isinstance(one, int) else _bytes(2, one)) for one in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, FLOAT) + _bytes(2, sizes)))


def _model(
    nodes: list[bytes],
    tensors: dict[str, np.ndarray],
    input_shape: tuple[Dimension, ...],
    output_shape: tuple[Dimension, ...],
) -> bytes:
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "tiny")
    graph += b"".join(_bytes(5, _tensor(name, values)) for name, values in tensors.items())
    graph += _bytes(11, _value("x", input_shape)) + _bytes(12, _value("y", output_shape))
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))
