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
from dflcore.geometry.warp import st_map
from dflcore.io.plate import Window
from dflcore.merge.composite import FaceShare
from dflcore.types import Affine, FloatArray


def map_of_square(share: FaceShare, display_window: Window) -> FloatArray:
    """(2, R, R) float32 s, t of the plate for every pixel of the painted square."""
    return st_map(_unit_from_square(share, display_window), 1, (0, 0, share.size, share.size))


def map_over_plate(share: FaceShare, display_window: Window, data_window: Window) -> FloatArray:
    """(2, H, W) float32 s, t over the data window, the painted square stretched over the display window."""
    size = float(share.size)
    scale_x, scale_y = size / display_window.width, size / display_window.height
    square_from_plate = np.array(
        [[scale_x, 0.0, -scale_x * display_window.x], [0.0, scale_y, -scale_y * display_window.y]]
    )
    unit_from_plate = affine.compose(_unit_from_square(share, display_window), square_from_plate)
    return st_map(unit_from_plate, 1, (data_window.x, data_window.y, data_window.width, data_window.height))


def _unit_from_square(share: FaceShare, display_window: Window) -> Affine:
    """From pixels of the square to the display window as the unit square, y down."""
    if share.aligned_from_plate is None:
        raise Internal("A face does not tell where its square lies in the plate; st_inverse needs it.")
    scale_x, scale_y = 1.0 / display_window.width, 1.0 / display_window.height
    unit_from_plate = np.array(
        [[scale_x, 0.0, -scale_x * display_window.x], [0.0, scale_y, -scale_y * display_window.y]]
    )
    return affine.compose(unit_from_plate, affine.invert(share.aligned_from_plate))
