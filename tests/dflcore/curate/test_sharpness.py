"""CPBD against a slow, plain reading of its definition."""

import math

import cv2
import numpy as np
import pytest

from dflcore.curate.sharpness import perceived_sharpness


def plain_cpbd(gray: np.ndarray) -> float:
    image = gray.astype(np.float64)
    height, width = image.shape
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    dx = np.rint(cv2.Sobel(smooth, cv2.CV_32F, 1, 0) * 16).astype(np.int16)
    dy = np.rint(cv2.Sobel(smooth, cv2.CV_32F, 0, 1) * 16).astype(np.int16)
    canny = cv2.Canny(dx, dy, 1.6, 3.2, L2gradient=True) > 0
    edges = plain_edges(image)
    gy, gx = np.gradient(image)
    histogram = [0] * 101
    for top in range(0, height - height % 64, 64):
        for left in range(0, width - width % 64, 64):
            inside = (slice(top, top + 64), slice(left, left + 64))
            if canny[inside].sum() / 4096 <= 0.002:
                continue
            contrast = image[inside].max() - image[inside].min()
            noticeable = 5.0 if contrast <= 50 else 3.0
            for row in range(top, top + 64):
                for column in range(left, left + 64):
                    edge_width = plain_width(image, edges, gx, gy, row, column)
                    if edge_width:
                        probability = 1.0 - math.exp(-((edge_width / noticeable) ** 3.6))
                        histogram[round(100 * probability)] += 1
    total = sum(histogram)
    return sum(histogram[:64]) / total if total else 0.0


def plain_edges(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    mirrored = np.pad(image, 1, mode="symmetric")
    strength = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            around = mirrored[row : row + 3, column : column + 3]
            strength[row, column] = (((around[:, 2] - around[:, 0]) * [1, 2, 1]).sum() / 8.0) ** 2
    strength[strength <= 2.0 * math.sqrt(strength.mean())] = 0.0
    at = np.pad(strength, 1)
    edges = np.zeros(image.shape, dtype=bool)
    for row in range(height):
        for column in range(width):
            here = strength[row, column]
            edges[row, column] = (here > at[row + 1, column] and here > at[row + 1, column + 2]) or (
                here > at[row, column + 1] and here > at[row + 2, column + 1]
            )
    return edges


def plain_width(image: np.ndarray, edges: np.ndarray, gx: np.ndarray, gy: np.ndarray, row: int, column: int) -> int:
    height, width = image.shape
    if not edges[row, column] or row in (0, height - 1) or column in (0, width - 1):
        return 0
    angle = 45 * round(math.degrees(math.atan2(gy[row, column], gx[row, column])) / 45)
    if angle not in (0, 180, -180):
        return 0
    sign = 1.0 if angle == 0 else -1.0
    total = 0
    for direction in (-1, 1):
        steps, inner = 1, column + direction
        while steps < 101:
            outer = inner + direction
            if not 0 <= outer < width or sign * direction * (image[row, outer] - image[row, inner]) <= 0:
                break
            steps, inner = steps + 1, outer
        total += steps
    return total


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0, 5.0])
def test_agrees_with_the_definition(sigma: float) -> None:
    rng = np.random.default_rng(3)
    blocks = cv2.resize(rng.integers(0, 256, (20, 14), dtype=np.uint8), (140, 200), interpolation=cv2.INTER_NEAREST)
    gray = cv2.GaussianBlur(blocks, (0, 0), sigma)
    wanted = plain_cpbd(gray)
    assert 0.0 <= wanted <= 1.0
    assert perceived_sharpness(gray) == pytest.approx(wanted, abs=1e-12)


def test_long_ramps_are_followed_to_the_limit() -> None:
    ramp = np.tile(np.clip(np.arange(320) - 30, 0, 255).astype(np.uint8), (64, 1))
    ramp[:, 170:] = np.minimum(ramp[:, 170:].astype(int) + 40, 255).astype(np.uint8)
    assert perceived_sharpness(ramp) == pytest.approx(plain_cpbd(ramp), abs=1e-12)


def test_blurring_lowers_it(astronaut: np.ndarray) -> None:
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    scores = [perceived_sharpness(gray)] + [
        perceived_sharpness(np.asarray(cv2.GaussianBlur(gray, (0, 0), sigma))) for sigma in (1.0, 2.0, 4.0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 0.2


def test_nothing_to_see_is_zero() -> None:
    assert perceived_sharpness(np.full((128, 128), 90, np.uint8)) == 0.0
    assert perceived_sharpness(np.zeros((40, 200), np.uint8)) == 0.0
