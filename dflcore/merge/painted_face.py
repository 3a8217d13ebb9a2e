"""One face as the network painted it: what is prepared once and finished as often as the look changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from dflcore.color.matching.palette import Palette
from dflcore.merge.aligning import AlignedFace
from dflcore.merge.matte import MaskParts
from dflcore.types import FaceRecord, FloatArray


@dataclass(slots=True)
class ColorMemory:
    """Palettes of a face, as painted and in the plate, measured before: other sizes and frames ask for them again."""

    found: dict[tuple[object, ...], Palette] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedFace:
    """One face as the network painted it.

    Attributes:
        painted: (3, R, R) float32 sRGB-encoded, aligned space, unbounded.
        enhanced: (3, N, N), N a multiple of R, the enhancer's version; None without an enhancer.
        learned_source, learned_target: (R, R) in [0, 1].
        painted_mask: (R, R) in [0, 1], where a mask network sees a face in ``painted``; None where nobody asked.
        colors: what was measured of its colours, for its own frame and those around.
    """

    aligned: AlignedFace
    painted: FloatArray
    enhanced: FloatArray | None
    learned_source: FloatArray
    learned_target: FloatArray
    painted_mask: FloatArray | None
    colors: ColorMemory = field(default_factory=ColorMemory)

    @property
    def record(self) -> FaceRecord:
        return self.aligned.record

    def parts(self) -> MaskParts:
        """What its matte can be made from."""
        return MaskParts(
            learned_source=self.learned_source,
            learned_target=self.learned_target,
            hull=self.aligned.hull,
            painted=self.painted_mask,
            has_stored=self.aligned.segmentation is not None,
        )
