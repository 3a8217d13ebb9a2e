"""The layers beside the beauty: their table, and a frame's arrays as layers of a file.

Convention:
    Everything covers the plate's data window. Colours are scene-linear in the plate's own primaries and not
    premultiplied; only the beauty is, by the plate's alpha, and the ``flat`` profile's patch, by its own and the
    plate's. Outside a face's aligned square every layer is 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.io.exr import ExrLayer, PixelType
from dflcore.io.plate import PlateImage
from dflcore.merge.composite import FaceLayers, cast, composite, cover, inside, quantise, to_float
from dflcore.merge.light import PlateLight
from dflcore.types import FloatArray

BEAUTY = ("R", "G", "B", "A")
PATCH = "patch"
"""Name of the ``flat`` profile's premultiplied patch."""
_BEAUTY_ALIASES = frozenset({"r", "g", "b", "a", "red", "green", "blue", "alpha"})
_KEEPABLE_LAYER = re.compile(r"[a-z_][a-z0-9_]*")
_KEEPABLE_CHANNEL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN_BY_HOSTS = frozenset({"left", "right", "main"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """One row of the table of layers. ``pixel_type`` None follows the beauty's."""

    name: str
    channels: tuple[str, ...]
    help: str
    take: Callable[[FaceLayers], FloatArray]
    pixel_type: PixelType | None = None

    @property
    def is_matte(self) -> bool:
        return self.channels == ("A",)


LAYERS: Mapping[str, LayerInfo] = {
    info.name: info
    for info in (
        LayerInfo(
            name="swap",
            channels=("R", "G", "B"),
            help="The swapped face in plate space, colour-matched, not composited, not premultiplied.",
            take=lambda face: face.swap,
        ),
        LayerInfo(
            name="raw",
            channels=("R", "G", "B"),
            help="The network's face before colour work, in plate space.",
            take=lambda face: face.raw,
        ),
        LayerInfo(
            name="matte",
            channels=("A",),
            help="The final matte: beauty = plate + matte * (swap * plate's alpha - plate).",
            take=lambda face: face.matte[..., None],
        ),
        LayerInfo(
            name="matte_learned_source",
            channels=("A",),
            help="Where the network painted the source's face.",
            take=lambda face: face.learned_source[..., None],
        ),
        LayerInfo(
            name="matte_learned_target",
            channels=("A",),
            help="Where the network sees the target's own face.",
            take=lambda face: face.learned_target[..., None],
        ),
        LayerInfo(
            name="matte_segmentation",
            channels=("A",),
            help="What the target's stored masks leave of the matte; 1 inside the aligned square where it has none.",
            take=lambda face: face.segmentation[..., None],
        ),
        LayerInfo(
            name="matte_hull",
            channels=("A",),
            help="The target's landmarks, filled.",
            take=lambda face: face.hull[..., None],
        ),
        LayerInfo(
            name="st",
            channels=("R", "G"),
            help="ST map from plate to aligned face: s right, t up, in [0, 1]; 32-bit.",
            take=lambda face: np.ascontiguousarray(face.st.transpose(1, 2, 0)),
            pixel_type="float",
        ),
    )
}
"""Every layer that can be asked for, in file order."""


def parse_layers(text: str) -> tuple[str, ...]:
    """Layer names of a comma-separated list, in file order, without doubles; an empty text asks for none.

    Raises:
        InvalidInput: names every unknown layer and lists the known ones.
    """
    asked = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(asked - LAYERS.keys())
    if unknown:
        raise InvalidInput(
            f"Unknown layer {', '.join(unknown)}; there are {', '.join(LAYERS)}.",
            reason="UNKNOWN_LAYER",
            field="layers",
            value=",".join(unknown),
        )
    return tuple(name for name in LAYERS if name in asked)


def layered_frame(
    light: PlateLight, faces: FaceLayers | None, names: Sequence[str]
) -> tuple[list[ExrLayer], list[str]]:
    """All layers of the ``layered`` profile's one file.

    Args:
        faces: all faces of the frame as one; None writes black layers.
        names: as :func:`parse_layers` gives them.

    Returns:
        The layers, beauty first; and the plate's own channels that could not be kept.
    """
    beauty, faces = beauty_over(light, faces)
    layers = [_layer("", BEAUTY, beauty)]
    layers += [_plate_sized(LAYERS[name], light, faces) for name in names]
    kept, dropped = extra_channels(light.image, names)
    return layers + kept, dropped


def flat_frame(
    light: PlateLight, faces: FaceLayers | None, names: Sequence[str]
) -> tuple[dict[str, list[ExrLayer]], list[str]]:
    """The ``flat`` profile's files of one frame.

    A matte is written into all four channels, so that hosts that look at luma and hosts that look at alpha both find
    it; a map of two channels gets a black third one.

    Returns:
        The layers by file: "" is the beauty, other keys the siblings' names, patch first; and the plate's own channels,
        none of which fit into such files.
    """
    beauty, faces = beauty_over(light, faces)
    files = {"": [_layer("", BEAUTY, beauty)], PATCH: [_layer("", BEAUTY, patch(light, faces))]}
    for name in names:
        layer = _plate_sized(LAYERS[name], light, faces)
        pixels = layer.pixels
        if LAYERS[name].is_matte:
            files[name] = [_layer("", BEAUTY, np.repeat(pixels, 4, axis=2))]
        else:
            blank = np.zeros((*pixels.shape[:2], 3 - pixels.shape[2]), pixels.dtype)
            files[name] = [_layer("", BEAUTY[:3], np.concatenate([pixels, blank], axis=2))]
    return files, [light.image.channel_names[index] for index in _extra_indices(light.image)]


def beauty_over(light: PlateLight, faces: FaceLayers | None) -> tuple[NDArray[Any], FaceLayers | None]:
    """The composite, and the faces with ``swap`` and ``matte`` as the file will hold them.

    Returns:
        (H, W, 4) in the type of ``light.beauty``, premultiplied by the plate's alpha: RGB outside the matte and alpha
        everywhere are the plate's own bits.
    """
    if faces is None:
        return light.beauty, None
    pixel_type: PixelType = "half" if light.beauty.dtype == np.float16 else "float"
    faces = replace(faces, swap=quantise(faces.swap, pixel_type), matte=quantise(faces.matte, pixel_type))
    beauty = light.beauty.copy()
    is_face = faces.matte > 0
    if not is_face.any():
        return beauty, faces
    part = _bounds(is_face)
    rows, columns = inside(faces.window, light.data_window)
    target = beauty[rows, columns][part][..., :3]
    swap = cover(faces.swap, light.coverage(faces.window))[part]
    mixed = composite(to_float(np.ascontiguousarray(target)), swap, faces.matte[part])
    np.copyto(target, cast(mixed, beauty.dtype), where=is_face[part][..., None])
    return beauty, faces


def patch(light: PlateLight, faces: FaceLayers | None) -> NDArray[Any]:
    """(H, W, 4): RGB = swap * plate's alpha * matte, A = matte: alpha-over on the plate gives the beauty's RGB."""
    values = np.zeros(light.beauty.shape, light.beauty.dtype)
    if faces is not None:
        rows, columns = inside(faces.window, light.data_window)
        matte = faces.matte[..., None]
        premultiplied = np.concatenate([cover(faces.swap, light.coverage(faces.window)) * matte, matte], axis=2)
        values[rows, columns] = cast(premultiplied, values.dtype)
    return values


def extra_channels(image: PlateImage, names: Sequence[str]) -> tuple[list[ExrLayer], list[str]]:
    """The plate's own channels besides its beauty, unchanged, as layers of our file.

    A bare depth ``Z`` becomes ``depth.Z`` (the hosts' name for it); channels without a layer otherwise, layers that
    share a name with ours, names the hosts would misread, and integers, which our files do not hold, cannot be kept.

    Returns:
        The layers to write, and the names of the channels left out.
    """
    groups: dict[str, list[int]] = {}
    dropped: list[str] = []
    for index in _extra_indices(image):
        full_name = image.channel_names[index]
        layer, _, channel = full_name.rpartition(".")
        layer = "depth" if full_name == "Z" else layer
        is_legal = image.is_float and _KEEPABLE_LAYER.fullmatch(layer) and _KEEPABLE_CHANNEL.fullmatch(channel)
        if is_legal and layer not in names and layer not in LAYERS and layer not in _TAKEN_BY_HOSTS:
            groups.setdefault(layer, []).append(index)
        else:
            dropped.append(full_name)
    return [_extra_layer(image, layer, indices) for layer, indices in groups.items()], dropped


def _extra_indices(image: PlateImage) -> list[int]:
    """Positions in ``channel_names`` of what is not in the beauty."""
    color = {image.channel_names[index] for index in image.color_indices()}
    color_layer = next(iter(color)).rpartition(".")[0]
    indices: list[int] = []
    for index, full_name in enumerate(image.channel_names):
        layer, _, channel = full_name.rpartition(".")
        if full_name not in color and not (layer == color_layer and channel.lower() in _BEAUTY_ALIASES):
            indices.append(index)
    return indices


def _extra_layer(image: PlateImage, name: str, indices: list[int]) -> ExrLayer:
    def rank(index: int) -> int:
        channel = image.channel_names[index].rpartition(".")[2]
        return BEAUTY.index(channel) if channel in BEAUTY else len(BEAUTY)

    ordered = sorted(indices, key=rank)
    channels = tuple(image.channel_names[index].rpartition(".")[2] for index in ordered)
    is_float = image.pixels.dtype == np.float32
    if image.channel_types:
        is_float = any(image.channel_types[index] != "half" for index in ordered)
    pixels = image.pixels[..., ordered]
    return ExrLayer(name=name, channels=channels, pixels=pixels, pixel_type="float" if is_float else "half")


def _plate_sized(info: LayerInfo, light: PlateLight, faces: FaceLayers | None) -> ExrLayer:
    dtype = np.dtype(np.float32) if info.pixel_type == "float" else light.beauty.dtype
    pixels = np.zeros((*light.beauty.shape[:2], len(info.channels)), dtype)
    if faces is not None:
        rows, columns = inside(faces.window, light.data_window)
        values = quantise(info.take(faces), "half" if dtype == np.float16 else "float")  # half would overflow
        pixels[rows, columns] = cast(values, dtype)
    return _layer(info.name, info.channels, pixels)


def _layer(name: str, channels: tuple[str, ...], pixels: NDArray[Any]) -> ExrLayer:
    pixel_type: PixelType = "half" if pixels.dtype == np.float16 else "float"
    return ExrLayer(name=name, channels=channels, pixels=pixels, pixel_type=pixel_type)


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest rows and columns that hold every true pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
