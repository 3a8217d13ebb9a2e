"""The layers beside the beauty: their table, and a frame's arrays as the files of a profile.

Convention:
    Colours are scene-linear in the plate's own primaries and not premultiplied; only the beauty is, by the plate's
    alpha, and the patch, by its own and the plate's. Outside a face's aligned square every layer is 0.

Profiles:
    ``layered``: one file over the plate's data window: beauty, layers, and the plate's own further channels.
    ``flat``: the beauty, the patch and every layer in files of their own, RGBA or RGB, over the same window.
    ``patch``: one file over the smallest window that holds the matte: the patch and the layers there.
    Display window and pixel aspect are always the plate's, but for ``st_inverse`` as a file of its own (``flat`` and
    ``patch``): that is of the square's size, see :mod:`dflcore.merge.st_inverse`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.io.exr import ExrLayer, PixelType
from dflcore.io.plate import PlateImage, Window
from dflcore.merge import cryptomatte
from dflcore.merge.composite import (
    FaceLayers,
    FaceShare,
    cast,
    composite,
    cover,
    empty_pixels,
    inside,
    intersect,
    quantise,
    to_finite,
    to_float,
)
from dflcore.merge.id_mattes import ANYBODY, LAYER_PREFIX, Coverages, crop_coverages, measure_coverages, suffix_names
from dflcore.merge.light import PlateLight
from dflcore.merge.st_inverse import map_of_square, map_over_plate
from dflcore.types import FloatArray

BEAUTY = ("R", "G", "B", "A")
PATCH = "patch"
"""Name of the ``flat`` profile's premultiplied patch."""
ID_MATTES = "id_mattes"
ST_INVERSE = "st_inverse"
Profile = Literal["layered", "flat", "patch"]
LOSSLESS = "zip"
_DWA = ("dwaa", "dwab")
"""Compressions that treat every channel called R, G or B as colour, whatever it holds, and no other."""
_LOSSY = (*_DWA, "b44", "b44a", "pxr24")
_BEAUTY_ALIASES = frozenset({"r", "g", "b", "a", "red", "green", "blue", "alpha"})
_KEEPABLE_LAYER = re.compile(r"[a-z_][a-z0-9_]*")
_KEEPABLE_CHANNEL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN_BY_HOSTS = frozenset({"left", "right", "main"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """What a name asks for.

    Attributes:
        channels: of the layer, or of each layer that the name stands for.
        pixel_type: None follows the beauty's; ``float`` is for data.
    """

    name: str
    channels: tuple[str, ...]
    help: str
    pixel_type: PixelType | None = None

    @property
    def is_data(self) -> bool:
        """Numbers that are no picture: any loss makes them wrong."""
        return self.pixel_type == "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateLayer(LayerInfo):
    """One row of the table of layers that cover the plate."""

    take: Callable[[FaceLayers], FloatArray]


LAYERS: Mapping[str, PlateLayer] = {
    info.name: info
    for info in (
        PlateLayer(
            name="swap",
            channels=("R", "G", "B"),
            help="The swapped face in plate space, colour-matched, not composited, not premultiplied.",
            take=lambda face: face.swap,
        ),
        PlateLayer(
            name="raw",
            channels=("R", "G", "B"),
            help="The network's face before colour work, in plate space.",
            take=lambda face: face.raw,
        ),
        PlateLayer(
            name="matte",
            channels=("A",),
            help="The final matte: beauty = plate + matte * (swap * plate's alpha - plate).",
            take=lambda face: face.matte[..., None],
        ),
        PlateLayer(
            name="matte_learned_source",
            channels=("A",),
            help="Where the network painted the source's face.",
            take=lambda face: face.learned_source[..., None],
        ),
        PlateLayer(
            name="matte_learned_target",
            channels=("A",),
            help="Where the network sees the target's own face.",
            take=lambda face: face.learned_target[..., None],
        ),
        PlateLayer(
            name="matte_segmentation",
            channels=("A",),
            help="What the target's stored masks leave of the matte; 1 inside the aligned square where it has none.",
            take=lambda face: face.segmentation[..., None],
        ),
        PlateLayer(
            name="matte_hull",
            channels=("A",),
            help="The target's landmarks, filled.",
            take=lambda face: face.hull[..., None],
        ),
        PlateLayer(
            name="st",
            channels=("R", "G"),
            help="ST map from plate to aligned face: s right, t up, in [0, 1]; 32-bit.",
            take=lambda face: face.st.transpose(1, 2, 0),
            pixel_type="float",
        ),
    )
}
"""Layers that cover the plate, in file order."""
ON_REQUEST: Mapping[str, LayerInfo] = {
    group.name: group
    for group in (
        LayerInfo(
            name=cryptomatte.LAYER_NAME,
            channels=cryptomatte.CHANNELS,
            help="Cryptomatte of the people in the frame, 32-bit: crypto_face00.rgba, crypto_face01.rgba.",
            pixel_type="float",
        ),
        LayerInfo(
            name=ID_MATTES,
            channels=("A",),
            help="A matte for each person, id_<person>.A: what of their matte is seen; together they are the matte.",
        ),
        LayerInfo(
            name=ST_INVERSE,
            channels=("R", "G"),
            help="ST map from aligned face to plate, 32-bit; st_inverse_<person> each where there are several people.",
            pixel_type="float",
        ),
    )
}
"""What stands for further layers, whose names and sizes the people and the model decide; after the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFile:
    """What one EXR of a frame holds.

    Attributes:
        data_window, display_window, pixel_aspect: of this file; not always the plate's.
        compression: of the merge, or one that loses nothing where a file of its own holds data rather than a picture.
        metadata: header attributes that belong to its layers, beside what the frame's provenance says.
    """

    layers: list[ExrLayer]
    data_window: Window
    display_window: Window
    pixel_aspect: float = 1.0
    compression: str = LOSSLESS
    metadata: Mapping[str, str] = field(default_factory=dict)


def parse_layers(text: str) -> tuple[str, ...]:
    """Layer names of a comma-separated list, in file order, without doubles; an empty text asks for none.

    Raises:
        InvalidInput: names every unknown layer and lists the known ones.
    """
    return order_layers(name.strip() for name in text.split(",") if name.strip())


def order_layers(names: Iterable[str], *, others: Sequence[str] = ()) -> tuple[str, ...]:
    """The same of names one by one.

    Args:
        others: names that may be among them and are no layers of the table; they are left out of the answer.
    """
    asked = set(names)
    known = (*LAYERS, *ON_REQUEST)
    unknown = sorted(asked.difference(known, others))
    if unknown:
        named = ", ".join(name or "''" for name in unknown)
        raise InvalidInput(
            f"Unknown layer {named}; there are {', '.join((*others, *known))}.",
            reason="UNKNOWN_LAYER",
            field="layers",
            value=",".join(unknown),
        )
    return tuple(name for name in known if name in asked)


class FrameLayout:
    """What files a merge writes for every frame, and what each holds; the same for all frames.

    Args:
        names: as :func:`parse_layers` gives them.
        people: everybody who may be in a frame of the merge, by the names that faces carry
            (:attr:`FaceLayers.person`); decides names of layers and files, and the Cryptomatte's manifest.
        square: side of the painted squares in pixels, for files of that size in frames without a face; the largest,
            where models differ.
        compression: of the merge's files. DWA would move what an ST map points at by pixels: under it the maps'
            channels are called r and g, which it keeps bit for bit and hosts read as R and G.
    """

    def __init__(
        self,
        profile: Profile,
        names: Sequence[str],
        *,
        people: Sequence[str] = (),
        square: int = 1,
        compression: str = LOSSLESS,
    ) -> None:
        self._profile = profile
        self._compression = compression
        self._names = tuple(name for name in names if name in LAYERS)
        self._people = tuple(dict.fromkeys(people)) or (ANYBODY,)
        self._square = square
        self._has_crypto = cryptomatte.LAYER_NAME in names
        suffixes = suffix_names(self._people)
        self._ids = {who: LAYER_PREFIX + suffixes[who] for who in self._people} if ID_MATTES in names else {}
        self._inverses: dict[str, str] = {}
        if ST_INVERSE in names:
            is_alone = len(self._people) == 1
            self._inverses = {who: ST_INVERSE if is_alone else f"{ST_INVERSE}_{suffixes[who]}" for who in self._people}

    @property
    def siblings(self) -> tuple[str, ...]:
        """Names of the files beside a frame's own."""
        if self._profile == "layered":
            return ()
        inverses = tuple(self._inverses.values())
        if self._profile == "patch":
            return inverses
        crypto = (cryptomatte.LAYER_NAME,) if self._has_crypto else ()
        return (PATCH, *self._names, *crypto, *self._ids.values(), *inverses)

    def layers_of(self, name: str) -> tuple[str, ...]:
        """The layers of a ``layered`` file that one name stands for."""
        if name == cryptomatte.LAYER_NAME:
            return cryptomatte.layer_names()
        groups = {ID_MATTES: self._ids, ST_INVERSE: self._inverses}
        return tuple(groups[name].values()) if name in groups else (name,)

    def arrange(
        self, light: PlateLight, faces: FaceLayers | None, *, is_over: bool = True
    ) -> tuple[dict[str, FrameFile], list[str]]:
        """The files of one frame.

        Args:
            faces: all faces of the frame as one; None writes black layers.
            is_over: whether the beauty is the composite; else it is the plate, with all layers.

        Returns:
            Sibling's name → file, "" for the frame's own; and the plate's own channels that could not be kept, which
            only ``layered`` has a place for.
        """
        if faces is not None:
            faces = _as_delivered(light, faces)
        beauty = _layer("", BEAUTY, _beauty(light, faces if is_over else None))
        if self._profile == "patch":
            files = self._patch_files(light, faces)
        elif self._profile == "flat":
            files = self._flat_files(light, faces, beauty)
        else:
            return self._layered_files(light, faces, beauty)
        return files, [light.image.channel_names[index] for index in _extra_indices(light.image)]

    def _layered_files(
        self, light: PlateLight, faces: FaceLayers | None, beauty: ExrLayer
    ) -> tuple[dict[str, FrameFile], list[str]]:
        window = light.data_window
        layers = [beauty, *self._table_layers(light, faces, window)]
        layers += self._people_layers(light, faces, window)
        for name, share in self._found_inverses(faces).items():
            layers.append(self._spared(_stretched_inverse(name, share, light)))
        kept, dropped = extra_channels(light.image, [layer.name for layer in layers])
        return {"": self._file(light, layers + kept, window, self._crypto_header())}, dropped

    def _flat_files(self, light: PlateLight, faces: FaceLayers | None, beauty: ExrLayer) -> dict[str, FrameFile]:
        """A matte is written into all four channels, so that hosts that look at luma and hosts that look at alpha both
        find it. A map's third channel is 1 where the map says something, as hosts with UV passes expect it."""
        window = light.data_window
        pictures = {
            "": beauty,
            PATCH: _layer("", BEAUTY, patch(light, faces, window)),
        }
        files = {name: self._file(light, [layer], window) for name, layer in pictures.items()}
        for name in self._names:
            layer = _flattened(_fitted(LAYERS[name], light, faces, window))
            files[name] = self._file(light, [layer], window, is_data=LAYERS[name].is_data)
        people = self._people_layers(light, faces, window)
        if self._has_crypto:
            ranked, people = people[: cryptomatte.RANKED_LAYERS], people[cryptomatte.RANKED_LAYERS :]
            files[cryptomatte.LAYER_NAME] = self._file(light, ranked, window, self._crypto_header(), is_data=True)
        files |= {layer.name: self._file(light, [_flattened(layer)], window) for layer in people}
        return files | self._inverse_files(light, faces)

    def _patch_files(self, light: PlateLight, faces: FaceLayers | None) -> dict[str, FrameFile]:
        window = _matte_window(light, faces)
        layers = [_layer("", BEAUTY, patch(light, faces, window)), *self._table_layers(light, faces, window)]
        layers += self._people_layers(light, faces, window)
        return {"": self._file(light, layers, window, self._crypto_header()), **self._inverse_files(light, faces)}

    def _table_layers(self, light: PlateLight, faces: FaceLayers | None, window: Window) -> list[ExrLayer]:
        layers = {name: _fitted(LAYERS[name], light, faces, window) for name in self._names}
        return [self._spared(layer) if LAYERS[name].is_data else layer for name, layer in layers.items()]

    def _spared(self, layer: ExrLayer) -> ExrLayer:
        """A layer of data under channel names that the compression leaves alone."""
        if self._compression not in _DWA:
            return layer
        return replace(layer, channels=tuple(letter.lower() for letter in layer.channels))

    def _people_layers(self, light: PlateLight, faces: FaceLayers | None, window: Window) -> list[ExrLayer]:
        """Ranked layers, then a matte for each person."""
        if not (self._has_crypto or self._ids):
            return []
        coverages = {} if faces is None else crop_coverages(measure_coverages(faces), window)
        layers: list[ExrLayer] = []
        if self._has_crypto:
            for name, pixels in cryptomatte.ranked_layers(coverages, window):
                layers.append(_layer(name, cryptomatte.CHANNELS, pixels))
        for who, name in self._ids.items():
            layers.append(_id_layer(name, coverages, who, light, window))
        return layers

    def _crypto_header(self) -> Mapping[str, str]:
        return cryptomatte.header(self._people) if self._has_crypto else {}

    def _found_inverses(self, faces: FaceLayers | None) -> dict[str, FaceShare | None]:
        """Layer name → the face in front of all faces of that person, None where they are not in the frame."""
        found = {part.person or ANYBODY: part for part in faces.parts()} if faces is not None else {}
        return {name: found.get(who) for who, name in self._inverses.items()}

    def _inverse_files(self, light: PlateLight, faces: FaceLayers | None) -> dict[str, FrameFile]:
        files: dict[str, FrameFile] = {}
        for name, share in self._found_inverses(faces).items():
            side = self._square if share is None else share.size
            pixels = np.zeros((side, side, 3), np.float32)
            if share is not None:
                pixels[..., :2] = map_of_square(share, light.image.display_window)
                pixels[..., 2] = 1.0
            window = Window(x=0, y=0, width=side, height=side)
            layer = _layer("", BEAUTY[:3], pixels)
            files[name] = FrameFile(
                layers=[layer], data_window=window, display_window=window, compression=self._lossless()
            )
        return files

    def _lossless(self) -> str:
        return LOSSLESS if self._compression in _LOSSY else self._compression

    def _file(
        self,
        light: PlateLight,
        layers: list[ExrLayer],
        window: Window,
        metadata: Mapping[str, str] | None = None,
        *,
        is_data: bool = False,
    ) -> FrameFile:
        return FrameFile(
            layers=layers,
            data_window=window,
            display_window=light.image.display_window,
            pixel_aspect=light.image.pixel_aspect,
            compression=self._lossless() if is_data else self._compression,
            metadata=metadata or {},
        )


def patch(light: PlateLight, faces: FaceLayers | None, window: Window) -> NDArray[Any]:
    """(h, w, 4) over a window: RGB = swap * plate's alpha * matte, A = matte, in the type of ``light.beauty``.

    Alpha-over on the plate gives the beauty's RGB, wherever the plate's own numbers are finite.
    """
    values = np.zeros((window.height, window.width, 4), light.beauty.dtype)
    common = None if faces is None else intersect(faces.window, window)
    if faces is not None and common is not None:
        part = inside(common, faces.window)
        matte = faces.matte[part][..., None]
        target = values[inside(common, window)]
        target[..., :3] = cast(cover(faces.swap[part], light.coverage(common)) * matte, values.dtype)
        target[..., 3:] = cast(matte, values.dtype)
    return values


def _as_delivered(light: PlateLight, faces: FaceLayers) -> FaceLayers:
    """The faces with ``swap`` and ``matte`` as the file will hold them."""
    pixel_type = _pixel_type(light.beauty)
    return replace(faces, swap=quantise(faces.swap, pixel_type), matte=quantise(faces.matte, pixel_type))


def _beauty(light: PlateLight, faces: FaceLayers | None) -> NDArray[Any]:
    """The composite, premultiplied by the plate's alpha.

    Returns:
        (H, W, 4) in the type of ``light.beauty``: RGB outside the matte and alpha everywhere are the plate's own bits.
        The plate's own array where there is no face.
    """
    if faces is None:
        return light.beauty
    is_face = faces.matte > 0
    if not is_face.any():
        return light.beauty
    window = _matte_window(light, faces)
    part = inside(window, faces.window)
    beauty = light.beauty.copy()
    target = beauty[inside(window, light.data_window)][..., :3]
    swap = cover(np.ascontiguousarray(faces.swap[part]), light.coverage(window))
    mixed = composite(to_float(np.ascontiguousarray(target)), swap, np.ascontiguousarray(faces.matte[part]))
    np.copyto(target, cast(mixed, beauty.dtype), where=is_face[part][..., None])
    return beauty


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


def _fitted(info: PlateLayer, light: PlateLight, faces: FaceLayers | None, window: Window) -> ExrLayer:
    """One of the table's layers over a window, 0 where the faces' own window does not reach."""
    dtype = np.dtype(np.float32) if info.pixel_type == "float" else light.beauty.dtype
    pixels = empty_pixels(window, len(info.channels), dtype)
    common = None if faces is None else intersect(faces.window, window)
    if faces is not None and common is not None:
        pixels[inside(common, window)] = to_finite(info.take(faces)[inside(common, faces.window)], dtype)
    return _layer(info.name, info.channels, pixels)


def _id_layer(name: str, coverages: Coverages, person: str, light: PlateLight, window: Window) -> ExrLayer:
    pixels = np.zeros((window.height, window.width, 1), light.beauty.dtype)
    if person in coverages:
        own, coverage = coverages[person]
        pixels[inside(own, window)] = to_finite(coverage[..., None], light.beauty.dtype)
    return _layer(name, ("A",), pixels)


def _stretched_inverse(name: str, share: FaceShare | None, light: PlateLight) -> ExrLayer:
    if share is None:
        pixels = empty_pixels(light.data_window, 2, np.float32)
    else:
        pixels = map_over_plate(share, light.image.display_window, light.data_window)
    return _layer(name, BEAUTY[:2], pixels)


def _flattened(layer: ExrLayer) -> ExrLayer:
    """A layer as the RGBA or RGB of a file of its own."""
    pixels = layer.pixels
    if pixels.shape[2] == 1:
        return _layer("", BEAUTY, np.repeat(pixels, 4, axis=2))
    if pixels.shape[2] == 2:
        pixels = np.concatenate([pixels, pixels.any(axis=2, keepdims=True).astype(pixels.dtype)], axis=2)
    return _layer("", BEAUTY[:3], pixels)


def _matte_window(light: PlateLight, faces: FaceLayers | None) -> Window:
    """The smallest window that holds the matte; the display window's first pixel where there is none.

    An EXR cannot be empty.
    """
    is_face = None if faces is None else faces.matte > 0
    if faces is None or is_face is None or not is_face.any():
        return Window(x=light.image.display_window.x, y=light.image.display_window.y, width=1, height=1)
    rows, columns = _bounds(is_face)
    return Window(
        x=faces.window.x + columns.start,
        y=faces.window.y + rows.start,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )


def _layer(name: str, channels: tuple[str, ...], pixels: NDArray[Any]) -> ExrLayer:
    return ExrLayer(name=name, channels=channels, pixels=pixels, pixel_type=_pixel_type(pixels))


def _pixel_type(pixels: NDArray[Any]) -> PixelType:
    return "half" if pixels.dtype == np.float16 else "float"


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest rows and columns that hold every true pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
