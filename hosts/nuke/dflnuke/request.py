"""What a node asks for, read from its knobs at once and in the main thread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nuke

from dflhost.errors import HostError
from dflhost.jobs import EXTRACT, TRAIN
from dflhost.knobs import KnobSpec, Value, changed_settings
from dflhost.plates import FrameSet, Plate, frames_on_disk
from dflhost.results import LAYERED, output_pattern

from . import layout
from .plates import PlateSource, find_source, for_view, is_ocio, rendered_pattern

NEEDED_LAYERS = ("swap", "matte")
"""Layers that the node's inside works with."""


@dataclass(frozen=True)
class SwapRequest:
    """One press of a button.

    Attributes:
        node_path: full name of the node. name: of the node, as it goes into names of files.
        model, faceset, folder: folders, with ``%V`` where they differ per view.
        frames: to be swapped, handles included.
        views: at least one. source: of the plate. values: of the settings' knobs.
        is_fetched: no disk is common, whatever the daemon's address says.
        ocio_config: file that this script's colour spaces are named in; empty where the daemon's own will do.
        in_background: another Nuke writes the plates. extract_values: of the settings for finding faces.
    """

    node_path: str
    model: str
    faceset: str
    folder: str
    name: str
    frames: FrameSet
    views: tuple[str, ...]
    source: PlateSource
    values: Mapping[str, Value]
    is_fetched: bool = False
    ocio_config: str = ""
    in_background: bool = False
    extract_values: Mapping[str, Value] = field(default_factory=dict)

    def plate(self, view: str, frames: FrameSet | None = None) -> Plate:
        """The plate of a view; looks at disks."""
        plate = self.source.plate(self.folder, self.name, view, self.frames)
        return plate if frames is None else Plate(plate.path, frames, plate.color_space, plate.graph_hash)

    def output(self, view: str) -> str:
        """Pattern of what is to be written, with ``{version}``."""
        return output_pattern(f"{self.folder}/{view}", self.name)

    def faces(self, view: str) -> str:
        """Faceset of a view."""
        return for_view(self.faceset, view)

    def settings(self, specs: list[KnobSpec]) -> dict[str, Value]:
        """What to send: settings that differ from the daemon's, as multilayer EXR with the layers the node needs."""
        chosen = changed_settings(specs, self.values)
        layers = chosen.get("layers")
        if layers is not None:
            names = [name.strip() for name in str(layers).split(",") if name.strip()]
            chosen["layers"] = ",".join([*names, *(name for name in NEEDED_LAYERS if name not in names)])
        chosen["profile"] = LAYERED
        return self._with_config(chosen)

    def extract_settings(self, specs: list[KnobSpec]) -> dict[str, Value]:
        """The same of finding faces."""
        return self._with_config(changed_settings(specs, self.extract_values))

    def _with_config(self, chosen: dict[str, Value]) -> dict[str, Value]:
        return {"ocio_config": self.ocio_config, **chosen} if self.ocio_config else chosen

    @property
    def sent(self) -> str:
        """Text that differs when something of the node's own has changed since."""
        mine = [self.model, self.faceset, str(self.frames), " ".join(self.views), self.source.pattern]
        mine += [self.source.color_space, self.ocio_config]
        return "\n".join([*mine, self.source.graph, repr(sorted(self.values.items()))])


def read_request(node: Any, *, frames: FrameSet | None = None, needs_model: bool = True) -> SwapRequest:
    """Read the knobs.

    Raises:
        HostError: something is missing that the artist must choose: ``NO_PLATE``, ``NO_MODEL``, ``UNSAVED_SCRIPT``,
            ``FRAMES_OUTSIDE_PLATE``, ``UNKNOWN_VIEW``.
    """
    source = find_source(node, use_files=bool(node["use_files"].value()))
    if frames is not None:
        _check_inside(source, frames.frames[0], frames.frames[-1])
    model = path_of(node, "model")
    if needs_model and not model:
        raise _missing("Choose the folder of a trained model.", "NO_MODEL", "model")
    folder = _folder(node)
    name = _name(node)
    views = _views(node)
    faceset = _faces(node, folder, views)
    return SwapRequest(
        node.fullName(),
        model,
        faceset,
        folder,
        name,
        _frames(node, source) if frames is None else frames,
        views,
        source,
        layout.setting_values(node),
        bool(node["fetch"].value()),
        ocio_config(),
        _is_on(node, "background"),
        layout.setting_values(node, EXTRACT),
    )


@dataclass(frozen=True)
class TrainRequest:
    """A press of *Train*: folders, and the settings' knobs."""

    node_path: str
    source: str
    target: str
    model: str
    values: Mapping[str, Value]
    is_fetched: bool


def read_training(node: Any) -> TrainRequest:
    """Read the knobs for a training. Of several views, the first one's faces are taken.

    Raises:
        HostError: something is missing that the artist must choose: ``NO_SOURCE``, ``UNSAVED_SCRIPT``,
            ``UNKNOWN_VIEW``.
    """
    source = path_of(node, "source")
    if not source:
        raise _missing("Choose the source faces: a faceset of the person whose face is put on.", "NO_SOURCE", "source")
    model, views = path_of(node, "model"), _views(node)
    faces = path_of(node, "faceset")
    folder = "" if model and faces else _folder(node)
    target = faces or _faces(node, folder, views)
    values = layout.setting_values(node, TRAIN)
    return TrainRequest(
        node.fullName(),
        source,
        for_view(target, views[0]),
        model or f"{folder}/model",
        values,
        bool(node["fetch"].value()),
    )


def ocio_config() -> str:
    """The OpenColorIO config that a script names by file; ``$OCIO`` goes before it, as in Nuke."""
    if not is_ocio():
        return ""
    root = nuke.root()
    chosen, custom = root.knob("OCIO_config"), root.knob("customOCIOConfigPath")
    path = os.environ.get("OCIO", "")
    if not path and chosen is not None and custom is not None and str(chosen.value()) == "custom":
        path = path_of(root, "customOCIOConfigPath")
    path = path.replace("\\", "/")
    return path if os.path.isabs(path) else ""


def _name(node: Any) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in node.name())


def _faces(node: Any, folder: str, views: tuple[str, ...]) -> str:
    return path_of(node, "faceset") or f"{folder}/faces/{_name(node)}" + ("/%V" if len(views) > 1 else "")


def _is_on(node: Any, name: str) -> bool:
    knob = node.knob(name)
    return knob is not None and bool(knob.value())


def _missing(message: str, reason: str, field: str) -> HostError:
    return HostError(message, reason=reason, category="INVALID_INPUT", details={"field": field})


def path_of(node: Any, name: str) -> str:
    """What a knob of a path says, without a slash at its end."""
    text = str(node[name].value() or "")
    if "[" in text:
        text = str(node[name].getEvaluatedValue() or "")
    return text.replace("\\", "/").rstrip("/")


def _folder(node: Any) -> str:
    folder = path_of(node, "folder")
    if folder:
        return folder
    script = str(nuke.root().name() or "")
    if not os.path.isabs(script):
        raise _missing("Save the script first, or choose a folder for plates and results.", "UNSAVED_SCRIPT", "folder")
    return os.path.dirname(script).replace("\\", "/") + "/dfl_swap"


def _views(node: Any) -> tuple[str, ...]:
    present = tuple(nuke.views())
    wanted = tuple(str(node["views"].value() or "").split()) or present
    unknown = [view for view in wanted if view not in present]
    if unknown:
        raise _missing(f"The script has no view {unknown[0]}.", "UNKNOWN_VIEW", "views")
    return wanted


def _frames(node: Any, source: PlateSource) -> FrameSet:
    first, last = int(node["first"].value()), int(node["last"].value())
    handles = max(0, int(node["handles"].value()))
    _check_inside(source, first, last)
    return FrameSet.span(max(source.first, first - handles), min(source.last, last + handles))


def _check_inside(source: PlateSource, first: int, last: int) -> None:
    if first > last or first < source.first or last > source.last:
        raise _missing(
            f"Frames {first}-{last} are not all in the plate, which has {source.first}-{source.last}.",
            "FRAMES_OUTSIDE_PLATE",
            "first",
        )


@dataclass(frozen=True)
class Unwritten:
    """Frames of a plate that Nuke must write, and to what files (with ``%V``)."""

    pattern: str
    frames: FrameSet

    def check(self, views: tuple[str, ...]) -> None:
        """Nuke's word is not taken for it: a full disk leaves a render that ends without an error. Asks the disk.

        Raises:
            HostError: frames lack (``PLATES_NOT_WRITTEN``).
        """
        for view in views if self.frames.frames else ():
            lacking = self.frames - frames_on_disk(for_view(self.pattern, view))
            if lacking.frames:
                raise HostError(
                    f"Nuke wrote no plate for frames {lacking}. Look whether the disk is full.",
                    reason="PLATES_NOT_WRITTEN",
                    details={"frame": str(lacking.frames[0])},
                )


def make_room(request: SwapRequest) -> Unwritten:
    """What must be written of the plate, and a folder to write it to. Asks the disk.

    Raises:
        HostError: the folder cannot be made (reason ``FOLDER_NOT_WRITABLE``).
    """
    try:
        os.makedirs(request.folder, exist_ok=True)
        writable = os.access(request.folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise HostError(
            f"The folder {request.folder} cannot be written. Choose another folder on the node.",
            reason="FOLDER_NOT_WRITABLE",
            category="INVALID_INPUT",
            details={"path": request.folder},
        )
    if not request.source.is_rendered:
        return Unwritten("", FrameSet())
    pattern = rendered_pattern(request.folder, request.name, request.source.graph_hash())
    missing = FrameSet()
    for view in request.views:
        missing = missing | (request.frames - frames_on_disk(for_view(pattern, view)))
    return Unwritten(pattern, missing)
