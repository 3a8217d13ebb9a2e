"""The networks besides the face model that a merge's settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dflcore.config.frame_overrides import parse_overrides
from dflcore.config.merge import OVERRIDABLE, SEGMENTER_MODES, MergeSettings
from dflcore.enhance.base import Enhancer, create_enhancer
from dflcore.errors import InvalidInput
from dflcore.progress import Notice
from dflcore.segment.apply import open_named_segmenter, reads_pixels
from dflcore.segment.base import Segmenter
from dflcore.weights.store import WeightStore


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeTools:
    """What takes part in a merge beside the face model.

    Attributes:
        enhancer: adds detail to painted faces. segmenter: looks at them. None where the settings name none.
        notices: what a person should know about them.
    """

    enhancer: Enhancer | None = None
    segmenter: Segmenter | None = None
    notices: Sequence[Notice] = ()

    @property
    def digests(self) -> list[str]:
        """Equal digests, equal results."""
        segmenter = [] if self.segmenter is None else [self.segmenter.digest]
        return segmenter if self.enhancer is None else [self.enhancer.digest, *segmenter]


def open_tools(settings: MergeSettings, store: WeightStore, device: str) -> MergeTools:
    """Load what the settings name.

    Args:
        device: torch device, resolved.

    Raises:
        InvalidInput: a segmenter that does not look at pixels. Others as :func:`create_enhancer` and
            :func:`open_named_segmenter`.
    """
    enhancer = create_enhancer(settings.enhancer, store, device=device) if settings.enhancer else None
    segmenter: Segmenter | None = None
    notices: list[Notice] = []
    if settings.segmenter:
        found, notices = open_named_segmenter(settings.segmenter, store, device)
        if not reads_pixels(found):
            raise InvalidInput(
                f"The segmenter {settings.segmenter} looks at landmarks, and a painted face has none; name a mask "
                "network.",
                reason="SEGMENTER_WITHOUT_PIXELS",
                field="segmenter",
            )
        segmenter = found
    return MergeTools(enhancer=enhancer, segmenter=segmenter, notices=notices)


def check_tools(settings: MergeSettings, tools: MergeTools) -> None:
    """Refuse a matte mode on any frame for which the mask network is missing.

    Raises:
        InvalidInput: names what is to be given.
    """
    overrides = parse_overrides(settings.overrides, OVERRIDABLE)
    modes = {settings.matte_mode, *(block.values.get("matte_mode", "") for block in overrides)}
    if modes & SEGMENTER_MODES and tools.segmenter is None:
        raise InvalidInput(
            f"The matte mode {min(modes & SEGMENTER_MODES)} looks at the painted face with a mask network; name one "
            "with the setting segmenter.",
            reason="NO_SEGMENTER",
            field="segmenter",
        )
