"""The way back of the ST map: from the plate into a face's aligned square.

Convention: as Nuke's STMap node reads it. s runs right, t **up**, both 0 and 1 at the outer corners of the first and
last pixel of the plate's *display window* (the host's format), whatever the data window; values are those at pixel
centres, ``(x + 0.5) / width``. They leave [0, 1] where the square reaches into the overscan or beyond the plate.
Transforms hold the pixel aspect already: a map of a squeezed plate gives an upright face, and st squeezes it again.

Two ways to deliver it:
    as a file of its own of the square's size: ``STMap(plate, st_inverse)`` is the aligned square, and
    ``STMap(square, st)`` puts it back;
    as a layer over the plate: the square is stretched over the display window, so that ``STMap(plate, st_inverse)`` is
    of the plate's format and goes back through ``st`` without a reformat. In the overscan the map goes on.
"""

from __future__ import annotations

import numpy as np

from dflcore.errors import Internal
from dflcore.geometry import affine
from dflcore.io.plate import Window
from dflcore.merge.composite import FaceShare, empty_pixels
from dflcore.types import Affine, FloatArray


def map_of_square(share: FaceShare, display_window: Window) -> FloatArray:
    """(R, R, 2) float32 s, t of the plate for every pixel of the painted square."""
    return _map(_unit_from_square(share, display_window), Window(x=0, y=0, width=share.size, height=share.size))


def map_over_plate(share: FaceShare, display_window: Window, data_window: Window) -> FloatArray:
    """(H, W, 2) float32 s, t over the data window, the painted square stretched over the display window."""
    size = float(share.size)
    square_from_unit = np.array([[size, 0.0, 0.0], [0.0, size, 0.0]])
    square_from_plate = affine.compose(square_from_unit, _unit_from_plate(display_window))
    return _map(affine.compose(_unit_from_square(share, display_window), square_from_plate), data_window)


def _unit_from_plate(display_window: Window) -> Affine:
    """From plate pixels to the display window as the unit square, y down."""
    scale_x, scale_y = 1.0 / display_window.width, 1.0 / display_window.height
    return np.array([[scale_x, 0.0, -scale_x * display_window.x], [0.0, scale_y, -scale_y * display_window.y]])


def _unit_from_square(share: FaceShare, display_window: Window) -> Affine:
    if share.aligned_from_plate is None:
        raise Internal("A face does not tell where its square lies in the plate; st_inverse needs it.")
    return affine.compose(_unit_from_plate(display_window), affine.invert(share.aligned_from_plate))


def _map(unit_from_pixel: Affine, window: Window) -> FloatArray:
    """Where every pixel centre of a window lies in the unit square, t up."""
    columns = window.x + np.arange(window.width) + 0.5
    rows = window.y + np.arange(window.height) + 0.5
    values = empty_pixels(window, 2, np.float32)
    for index, (sign, start) in enumerate(((1.0, 0.0), (-1.0, 1.0))):
        of_x, of_y, shift = sign * unit_from_pixel[index]
        along_x = (of_x * columns + (start + shift)).astype(np.float32)
        along_y = (of_y * rows).astype(np.float32)[:, None]
        np.add(along_x, along_y, out=values[..., index])
    return values
