"""Colour conversion through OpenColorIO. The only module that imports it.

Never convert in a thread that reads EXR files: after OpenImageIO has read an EXR in a thread, the lossless
processors used here run 7 to 12 times slower in that same thread (OIIO 3.2.2, OCIO 2.6.0). Pipelines read in one thread
and convert in another.
"""

from __future__ import annotations

import difflib
import threading
from typing import Any

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813
from numpy.typing import NDArray

from dflcore.errors import InvalidInput, NotFound
from dflcore.types import FloatArray

DEFAULT_CONFIG = "studio-config-v2.2.0_aces-v1.3_ocio-v2.4"
"""Named, because OCIO's own default differs between its builds."""
NETWORK_SPACE = "srgb_tx"
"""sRGB-encoded Rec.709: what the networks see. The alias resolves in every built-in config."""
LINEAR_REC709_NAMES = ("lin_rec709_scene", "lin_rec709", "Linear Rec.709 (sRGB)", "Utility - Linear - Rec.709")
_BUILTIN_PREFIX = "ocio://"


class ColorConverter:
    """Conversions of one OCIO config. Safe to share between threads.

    Args:
        config: path of a config file, name of a built-in config (with or without ``ocio://``), or empty for
            :data:`DEFAULT_CONFIG`. ``$OCIO`` is not read here: entry points pass its value.

    Raises:
        NotFound: neither a file nor a built-in config has that name.
        InvalidInput: the config cannot be loaded, or lacks :data:`NETWORK_SPACE`.
    """

    def __init__(self, config: str = "") -> None:
        self.config_name = config or DEFAULT_CONFIG
        self._config = _load_config(self.config_name)
        self._processors: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._network_space = self._find_network_space()

    def resolve(self, space: str) -> str:
        """The config's own name for a colour space, alias or role.

        Raises:
            InvalidInput: unknown; the message lists near matches.
        """
        name = self.find(space)
        if name is None:
            near = self._near_matches(space)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise InvalidInput(
                f"The OCIO config {self.config_name} has no colour space {space!r}.{hint}",
                reason="UNKNOWN_COLOR_SPACE",
                field="input_colorspace",
                value=space,
            )
        return name

    def find(self, space: str) -> str | None:
        """As :meth:`resolve`, None where unknown; hand it to ``open_plate(resolve_space=...)``."""
        found = self._config.getColorSpace(space) if space else None
        return None if found is None else str(found.getName())

    def is_scene_linear(self, space: str) -> bool:
        """The space is proportional to scene light.

        Raises:
            InvalidInput: unknown space.
        """
        return bool(self._config.isColorSpaceLinear(self.resolve(space), ocio.REFERENCE_SPACE_SCENE))

    def scene_linear_for(self, space: str) -> str:
        """Where light of a plate in ``space`` is mixed: the space itself if it is scene-linear, else linear Rec.709.

        Raises:
            InvalidInput: unknown space, or the config has no linear Rec.709.
        """
        if self.is_scene_linear(space):
            return self.resolve(space)
        for name in LINEAR_REC709_NAMES:
            found = self.find(name)
            if found is not None:
                return found
        raise InvalidInput(
            f"The OCIO config {self.config_name} has no linear Rec.709 space ({', '.join(LINEAR_REC709_NAMES)}).",
            reason="UNKNOWN_COLOR_SPACE",
            field="ocio_config",
        )

    def to_network(self, rgb: NDArray[Any], space: str) -> FloatArray:
        """Encode for the networks.

        Args:
            rgb: (H, W, 3) any float type, in ``space``, unbounded.

        Returns:
            (H, W, 3) float32 sRGB-encoded Rec.709, unclipped: scene-linear 1.0 is 1.0, brighter light is above.

        Raises:
            InvalidInput: unknown space, or not a data-free colour space.
        """
        return self.convert(rgb, space, self._network_space)

    def from_network(self, rgb: NDArray[Any], space: str) -> FloatArray:
        """Inverse of :meth:`to_network`: (H, W, 3) float32 in ``space``, unclipped."""
        return self.convert(rgb, self._network_space, space)

    def convert(self, rgb: NDArray[Any], src: str, dst: str) -> FloatArray:
        """Convert between any two spaces; a new array, the input is left alone.

        Args:
            rgb: (H, W, 3) numbers in ``src``, unbounded.

        Returns:
            (H, W, 3) float32 contiguous, in ``dst``, unclipped. Equal spaces return the numbers unchanged.

        Raises:
            InvalidInput: unknown space, a data space, no transform between the two, or a wrong shape.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3:
            raise InvalidInput(f"Colour conversion needs (H, W, 3) pixels, got {rgb.shape}.", reason="BAD_SHAPE")
        pixels = np.array(rgb, dtype=np.float32, order="C")
        processor = self._processor(self.resolve(src), self.resolve(dst))
        if processor is not None and pixels.size:
            processor.applyRGB(pixels)
        return pixels

    def _processor(self, src: str, dst: str) -> Any:
        """CPU processor of a pair, cached; None where nothing is to be done."""
        if src == dst:
            return None
        with self._lock:
            if (src, dst) not in self._processors:
                self._processors[src, dst] = self._build_processor(src, dst)
            return self._processors[src, dst]

    def _build_processor(self, src: str, dst: str) -> Any:
        for name in (src, dst):
            if self._config.getColorSpace(name).isData():
                raise InvalidInput(
                    f"{name!r} is a data space: its numbers are not colours. Name the plate's colour space.",
                    reason="DATA_COLOR_SPACE",
                    field="input_colorspace",
                    value=name,
                )
        try:
            processor = self._config.getProcessor(src, dst)
            # The default optimisation replaces curves by tables: 1.5e-3 there and back, against 1.9e-5.
            return processor.getOptimizedCPUProcessor(
                ocio.BIT_DEPTH_F32, ocio.BIT_DEPTH_F32, ocio.OPTIMIZATION_LOSSLESS
            )
        except ocio.Exception as error:
            raise InvalidInput(
                f"The OCIO config {self.config_name} cannot convert {src!r} to {dst!r}: {error}",
                reason="NO_COLOR_TRANSFORM",
                field="input_colorspace",
            ) from error

    def _find_network_space(self) -> str:
        for name in (NETWORK_SPACE, "srgb_texture", "Utility - sRGB - Texture", "sRGB"):
            found = self.find(name)
            if found is not None:
                return found
        raise InvalidInput(
            f"The OCIO config {self.config_name} has no sRGB texture space ({NETWORK_SPACE}), which the networks see; "
            f"add that alias to it or use another config.",
            reason="UNKNOWN_COLOR_SPACE",
            field="ocio_config",
        )

    def _near_matches(self, space: str) -> list[str]:
        names: dict[str, str] = {}
        for color_space in self._config.getColorSpaces():
            for name in (color_space.getName(), *color_space.getAliases()):
                names[str(name).lower()] = str(color_space.getName())
        near = difflib.get_close_matches(space.lower(), names, n=6, cutoff=0.5)
        near += [name for name in names if space and space.lower() in name]
        return list(dict.fromkeys(names[name] for name in near))[:4]


def _load_config(config: str) -> Any:
    name = config.removeprefix(_BUILTIN_PREFIX)
    builtin = {str(entry[0]) for entry in ocio.BuiltinConfigRegistry().getBuiltinConfigs()}
    if config.startswith(_BUILTIN_PREFIX) and name not in builtin:
        raise _config_not_found(config, builtin)
    try:
        if name in builtin:
            return ocio.Config.CreateFromBuiltinConfig(name)
        return ocio.Config.CreateFromFile(config)
    except ocio.ExceptionMissingFile as error:
        raise _config_not_found(config, builtin) from error
    except ocio.Exception as error:
        raise InvalidInput(
            f"The OCIO config {config} cannot be loaded: {error}", reason="BAD_OCIO_CONFIG", field="ocio_config"
        ) from error


def _config_not_found(config: str, builtin: set[str]) -> NotFound:
    return NotFound(
        f"There is no OCIO config {config}; give a file or one of the built-in configs: {', '.join(sorted(builtin))}.",
        reason="OCIO_CONFIG_NOT_FOUND",
        field="ocio_config",
    )
