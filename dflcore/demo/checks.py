"""What a demo must achieve; each limit is stated once, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

MAX_IDENTITY_TO_SOURCE = 0.40
"""dlib calls 0.60 the same person; a blurred face can reach that, 0.40 it cannot easily."""
MIN_SHARPNESS_RATIO = 0.5
MIN_HIGHLIGHT_LINEAR = 4.0
"""The window is shot at a peak of about 8; half of it must at least be there."""
REQUIRED_LAYERS: Mapping[str, str] = {
    "": "RGBA",
    "swap": "RGB",
    "raw": "RGB",
    "matte": "A",
    "matte_learned_source": "A",
    "matte_learned_target": "A",
    "matte_segmentation": "A",
    "matte_hull": "A",
    "st": "RG",
}
"""Layer → its channel letters, as the design's table has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFigures:
    """What was measured on a finished demo; distances are dlib descriptor distances.

    Attributes:
        frames: frames of the result. expected_frames: those of the plate. frames_without_face: of the result.
        sharpness_ratio: median over frames, against the source portrait at the same aligned size.
        contrast_ratio: the same for contrast; its square is the part of the sharpness that light and colour made.
        outside_matte_differing_px: pixels outside the matte with a changed bit, all frames together.
        highlights_lost_frames: frames whose largest value outside the matte is not the plate's.
        max_linear_value: largest value of the result outside the matte.
        missing_channels: as ``frame: names``, frames that lack channels of :data:`REQUIRED_LAYERS`.
        changed_metadata: as ``frame: name``, attributes of the plate that did not come through.
    """

    frames: tuple[int, ...]
    expected_frames: tuple[int, ...]
    frames_without_face: tuple[int, ...]
    identity_to_source: float
    identity_to_source_max: float
    identity_to_target: float
    source_to_target: float
    sharpness_ratio: float
    contrast_ratio: float
    outside_matte_px: int
    outside_matte_differing_px: int
    outside_matte_max_difference: float
    highlights_lost_frames: int
    max_linear_value: float
    missing_channels: tuple[str, ...]
    changed_metadata: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One demand, and whether it was met. ``figure`` and ``limit`` are words and numbers for people."""

    name: str
    passed: bool
    figure: str
    limit: str

    def as_values(self) -> dict[str, object]:
        """Plain values for the report."""
        return asdict(self)


def check_demo(figures: DemoFigures) -> list[Check]:
    """Every demand of the demo against what was measured."""
    return [
        Check(
            name="likeness",
            passed=figures.identity_to_source <= MAX_IDENTITY_TO_SOURCE,
            figure=f"identity_to_source {figures.identity_to_source:.3f}",
            limit=f"<= {MAX_IDENTITY_TO_SOURCE:.2f}",
        ),
        Check(
            name="nearer to the source than to the target",
            passed=figures.identity_to_source < figures.identity_to_target,
            figure=f"identity_to_source {figures.identity_to_source:.3f}",
            limit=f"< identity_to_target {figures.identity_to_target:.3f}",
        ),
        Check(
            name="sharpness",
            passed=figures.sharpness_ratio >= MIN_SHARPNESS_RATIO,
            figure=f"sharpness_ratio {figures.sharpness_ratio:.3f}",
            limit=f">= {MIN_SHARPNESS_RATIO:.2f} of the source portrait's",
        ),
        Check(
            name="plate untouched outside the matte",
            passed=figures.outside_matte_differing_px == 0 and figures.outside_matte_px > 0,
            figure=f"{figures.outside_matte_differing_px} of {figures.outside_matte_px} pixels differ, "
            f"by up to {figures.outside_matte_max_difference:g}",
            limit="0 pixels",
        ),
        Check(
            name="highlights kept",
            passed=figures.highlights_lost_frames == 0 and figures.max_linear_value >= MIN_HIGHLIGHT_LINEAR,
            figure=f"{figures.highlights_lost_frames} frames lost some, peak {figures.max_linear_value:.2f}",
            limit=f"0 frames, peak >= {MIN_HIGHLIGHT_LINEAR:g}",
        ),
        _nothing_missing("every layer present", figures.missing_channels),
        _nothing_missing("metadata kept", figures.changed_metadata),
        Check(
            name="every frame, same numbers",
            passed=figures.frames == figures.expected_frames and bool(figures.frames),
            figure=_frames_text(figures.frames),
            limit=_frames_text(figures.expected_frames),
        ),
        Check(
            name="a face in every frame",
            passed=not figures.frames_without_face,
            figure=f"{len(figures.frames_without_face)} frames without a face",
            limit="0 frames",
        ),
    ]


def _nothing_missing(name: str, faults: Sequence[str]) -> Check:
    figure = f"{len(faults)} faults" + (f", first {faults[0]}" if faults else "")
    return Check(name=name, passed=not faults, figure=figure, limit="0 faults")


def _frames_text(frames: Sequence[int]) -> str:
    return f"{len(frames)} frames {frames[0]}-{frames[-1]}" if frames else "no frames"
