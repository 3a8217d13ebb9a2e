import cv2
import numpy as np

from dflcore.quality import measure_sharpness


def test_blur_lowers_sharpness(astronaut):
    face = np.ascontiguousarray(astronaut[60:200, 150:290])
    assert measure_sharpness(cv2.GaussianBlur(face, (0, 0), 2.0)) < 0.5 * measure_sharpness(face)
    assert measure_sharpness(np.full((64, 64, 3), 200, np.uint8)) < 1e-9
