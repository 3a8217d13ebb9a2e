"""The table of everything a report measures: what it means, from where on it is flagged, what helps.

The one home of names, words and limits; the page, the JSON file and the flags are made from it. Limits come from
:class:`dflcore.config.qc.QcSettings`; those that are always zero stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dflcore.config.qc import QcSettings
from dflcore.qc.report import Level, MeasureInfo, Worse

Limit = Callable[[QcSettings], float]

INTEGRITY: Final = "Integrity"
FACES: Final = "Faces and matte"
IDENTITY: Final = "Identity"
PERFORMANCE: Final = "Performance"
PICTURE: Final = "Picture"
TIME: Final = "Over time"


def _zero(settings: QcSettings) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row of the table; see :class:`dflcore.qc.report.MeasureInfo`.

    Attributes:
        low, high: limits as the settings have them; None where there is none.
        beside: another measure drawn into the same plot, as the plate's own value beside the result's.
    """

    name: str
    title: str
    group: str
    meaning: str
    change: str = ""
    unit: str = ""
    digits: int = 2
    of_face: bool = True
    level: Level = "look"
    low: Limit | None = None
    high: Limit | None = None
    departure: float | None = None
    beside: str = ""

    @property
    def worse(self) -> Worse:
        """Which side is flagged."""
        if self.level == "info":
            return ""
        if self.low is not None and self.high is not None:
            return "both"
        return "low" if self.low is not None else "high"

    def info(self, settings: QcSettings) -> MeasureInfo:
        """With the limits these settings ask for."""
        return MeasureInfo(
            name=self.name,
            title=self.title,
            group=self.group,
            unit=self.unit,
            digits=self.digits,
            of_face=self.of_face,
            level=self.level,
            worse=self.worse,
            low=None if self.low is None else self.low(settings),
            high=None if self.high is None else self.high(settings),
            departure=self.departure,
            meaning=self.meaning,
            change=self.change,
        )


def _integrity() -> list[Measure]:
    return [
        Measure(
            name="missing",
            title="Missing frame",
            group=INTEGRITY,
            of_face=False,
            level="error",
            high=_zero,
            digits=0,
            meaning="The plate has this frame, the result has not.",
            change="Run the merge again with the same settings: only missing frames are computed.",
        ),
        Measure(
            name="unreadable",
            title="Unreadable frame",
            group=INTEGRITY,
            of_face=False,
            level="error",
            high=_zero,
            digits=0,
            meaning="The frame's file is damaged, lacks layers, or does not cover what the plate covers.",
            change="Delete the file and merge this frame again; if it comes back, check the disk.",
        ),
        Measure(
            name="outside_px",
            title="Changed pixels outside the matte",
            group=INTEGRITY,
            unit="px",
            digits=0,
            of_face=False,
            level="error",
            high=_zero,
            meaning="Pixels where the matte is exactly 0 and yet some bit differs from the plate. Must be none.",
            change="Something touched the frames after merging, or the plate was changed since. Merge again, without "
            "lossy compression, and deliver those files.",
        ),
        Measure(
            name="not_finite_px",
            title="NaN or infinite pixels",
            group=INTEGRITY,
            unit="px",
            digits=0,
            of_face=False,
            level="error",
            high=_zero,
            meaning="Pixels that are no numbers where the plate's are. They spread in every blur of the composite.",
            change="Merge again; if they stay, the model has diverged: go back to an earlier save of it.",
        ),
        Measure(
            name="highlight_ratio",
            title="Highlights against the plate",
            group=INTEGRITY,
            of_face=False,
            high=lambda settings: settings.max_highlight,
            meaning="Brightest light in the matte as a multiple of the plate's brightest there, both counted from 1.",
            change="Choose another colour transfer, or lower its strength; look for sparkling pixels.",
        ),
        Measure(
            name="highlight",
            title="Brightest light in the matte",
            group=INTEGRITY,
            of_face=False,
            level="info",
            beside="highlight_plate",
            meaning="Scene-linear peak of the result in the matte, beside the plate's there.",
        ),
        Measure(
            name="highlight_plate",
            title="Brightest light in the matte, plate",
            group=INTEGRITY,
            of_face=False,
            level="info",
            meaning="The plate's own peak where the matte is.",
        ),
    ]


def _faces() -> list[Measure]:
    return [
        Measure(
            name="faces",
            title="Faces",
            group=FACES,
            of_face=False,
            digits=0,
            level="info",
            meaning="How many faces the target's faceset has in the frame.",
        ),
        Measure(
            name="no_face",
            title="Frame without a face",
            group=FACES,
            of_face=False,
            high=_zero,
            digits=0,
            meaning="The target's faceset has no face here, so the plate went through untouched.",
            change="If there is one to be seen, set its box or landmarks by hand and extract the frame again.",
        ),
        Measure(
            name="stray_matte",
            title="A matte without a face",
            group=FACES,
            of_face=False,
            high=_zero,
            digits=0,
            meaning="The frame was merged with faces that this faceset has not.",
            change="Name the faceset that was merged with, or merge the frame again.",
        ),
        Measure(
            name="empty_matte",
            title="A face without a matte",
            group=FACES,
            high=_zero,
            digits=0,
            meaning="The faceset has a face here, but nothing of it was replaced, unlike in other frames.",
            change="Look at the stored masks and the matte's erosion; merge the frame again.",
        ),
        Measure(
            name="confidence",
            title="Sureness of detection and landmarks",
            group=FACES,
            low=lambda settings: settings.min_confidence,
            meaning="How sure detector and landmarks were, compared with the rest of the track: 1 is usual, 0 was "
            "filled in between neighbours. Landmarks set by hand count as sure.",
            change="Look at the landmarks of this frame; set them by hand where they slip, then extract and merge it.",
        ),
        Measure(
            name="matte_area",
            title="Area of the matte",
            group=FACES,
            unit="%",
            digits=1,
            level="info",
            meaning="Share of the face's square that the matte covers; head and camera moves do not change it.",
        ),
        Measure(
            name="matte_jump",
            title="Jumps of the matte",
            group=FACES,
            unit="%",
            digits=1,
            high=lambda settings: settings.max_matte_jump,
            meaning="Change of the matte's area from the frame before, of its usual area.",
            change="Smooth the matte over time, or repair the masks of the frames around the jump.",
        ),
    ]


def _identity() -> list[Measure]:
    return [
        Measure(
            name="identity_to_source",
            title="Distance to the source",
            group=IDENTITY,
            digits=3,
            high=lambda settings: settings.max_identity_distance,
            departure=0.15,
            beside="identity_to_target",
            meaning="How far the face is from the source's typical face; lower is more like. A blurred face can pass: "
            "see sharpness beside it.",
            change="Train longer on poses like this one, add source faces that show it, or use true-face training.",
        ),
        Measure(
            name="identity_to_target",
            title="Distance to the target",
            group=IDENTITY,
            digits=3,
            level="info",
            meaning="How far the face is from the performer's own; higher is better.",
        ),
        Measure(
            name="identity_margin",
            title="Nearer to the source than to the target",
            group=IDENTITY,
            digits=3,
            low=_zero,
            meaning="Distance to the target less distance to the source: below 0 one still sees the performer.",
            change="Train longer; check that the matte covers brows, eyes and mouth, and that opacity is 1.",
        ),
        Measure(
            name="perceptual",
            title="Perceptual distance",
            group=IDENTITY,
            digits=3,
            high=lambda settings: settings.max_perceptual,
            departure=0.15,
            meaning="How different the two faces look to a network's early layers. Another person differs somewhat; an "
            "outlier is a broken frame.",
            change="Look at the picture: a broken alignment, an occluder painted over, or a model gone wrong.",
        ),
        Measure(
            name="similarity",
            title="Similarity with the plate",
            group=IDENTITY,
            digits=3,
            low=lambda settings: settings.min_similarity,
            departure=0.15,
            meaning="SSIM of the faces' luma inside the matte. Another person is never 1; a drop is a broken frame.",
            change="Look at the picture: a broken alignment, an occluder painted over, or a model gone wrong.",
        ),
    ]


def _performance() -> list[Measure]:
    return [
        Measure(
            name="landmark_error",
            title="Expression",
            group=PERFORMANCE,
            unit="%",
            digits=1,
            high=lambda settings: settings.max_landmark_error,
            departure=5.0,
            meaning="Mean distance of the landmarks found on result and plate, of the distance between the eyes' outer "
            "corners: mouth and eyes do not do what the performer's do.",
            change="Add source faces with this expression, train eyes and mouth with priority, or train longer.",
        ),
        Measure(
            name="pose_error",
            title="Head pose",
            group=PERFORMANCE,
            unit="deg",
            digits=1,
            high=lambda settings: settings.max_pose_error,
            departure=5.0,
            meaning="Difference of pitch, yaw and roll between result and plate.",
            change="Add source faces of this pose; check the landmarks of the frame.",
        ),
    ]


def _picture() -> list[Measure]:
    return [
        Measure(
            name="sharpness",
            title="Sharpness against the plate",
            group=PICTURE,
            low=lambda settings: settings.min_sharpness,
            departure=0.4,
            meaning="Detail of the face as a share of the plate's face, at the same size and place: 1 is as sharp.",
            change="Sharpen or enhance the face, take a model of higher resolution, or train longer without warping.",
        ),
        Measure(
            name="grain",
            title="Grain against the plate",
            group=PICTURE,
            low=lambda settings: settings.min_grain,
            high=lambda settings: settings.max_grain,
            meaning="Noise of the face as a share of the plate's noise in the same place. Not measured where the plate "
            "has none.",
            change="Too little: switch grain on. Too much: lower it, or sharpen less.",
        ),
        Measure(
            name="seam",
            title="Seam",
            group=PICTURE,
            unit="%",
            digits=1,
            high=lambda settings: settings.max_seam,
            meaning="Steepest step of colour across the matte's edge, where the plate has none, at the worst of 24 "
            "places around it.",
            change="Feather the matte more, erode it away from the jaw or the hair, match colour better, or blend "
            "seamlessly.",
        ),
    ]


def _time() -> list[Measure]:
    return [
        Measure(
            name="flicker",
            title="Flicker",
            group=TIME,
            unit="%",
            high=lambda settings: settings.max_flicker,
            meaning="Change of the face's mean colour against both neighbouring frames, less the plate's own change. A "
            "change that lasts counts for the frame that arrives with it.",
            change="Smooth the colour transfer over time, or transfer colours with less strength.",
        ),
        Measure(
            name="boil",
            title="Boiling",
            group=TIME,
            unit="%",
            high=lambda settings: settings.max_boil,
            meaning="Change of what is inside the face against both neighbouring frames, less the plate's own change: "
            "features swim or crawl.",
            change="Smooth the landmarks over time, train longer, or lower sharpening and enhancement.",
        ),
        Measure(
            name="jitter",
            title="Landmark jitter",
            group=TIME,
            unit="%",
            high=lambda settings: settings.max_jitter,
            meaning="Jump of the result's landmarks against both neighbouring frames, less the plate's own, of the "
            "distance between the eyes' outer corners.",
            change="Smooth the landmarks over time; correct those of the frames around.",
        ),
        Measure(
            name="tone",
            title="Mean brightness of the face",
            group=TIME,
            unit="%",
            digits=1,
            level="info",
            beside="tone_plate",
            meaning="Mean luma inside the matte as a display shows it, beside the plate's face. The two should move "
            "together.",
        ),
        Measure(
            name="tone_plate",
            title="Mean brightness of the face, plate",
            group=TIME,
            unit="%",
            digits=1,
            level="info",
            meaning="The plate's own.",
        ),
    ]


MEASURES: Final[Mapping[str, Measure]] = {
    measure.name: measure
    for rows in (_integrity(), _faces(), _identity(), _performance(), _picture(), _time())
    for measure in rows
}
"""By name, in the order of the page."""
GROUPS: Final = (IDENTITY, PERFORMANCE, PICTURE, TIME, FACES, INTEGRITY)
"""Headings in the order of the page's plots."""
STATES: Final = frozenset({"missing", "unreadable", "no_face", "stray_matte", "empty_matte"})
"""Measures that are 1 where something is so; there is no curve to draw."""
