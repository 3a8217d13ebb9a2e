"""Does few-shot segmentation work? Sixteen labels of a clip, a short training, and the true masks of all other faces.

What it proves and what not: a drawn hand and a drawn microphone move before real faces
(:mod:`dflcore.bench.segment_material`), the labels show some moments of that same performance, and the network is asked
about the others. That is how an artist uses it within one shot. Other people, other light and real hands are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dflcore.bench.figures import Figure
from dflcore.bench.segment_material import CoveredFace, cover_face, intersection_over_union, overlay, strip_picture
from dflcore.config.extract import ExtractSettings
from dflcore.config.segment import DEFAULT_SEGMENT_PRESET, MaskTrainSettings
from dflcore.errors import InvalidInput
from dflcore.extract.pipeline import extract_faces
from dflcore.frames import FrameRange
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.mask_recipe import resize_mask
from dflcore.io.masks import MaskStore
from dflcore.io.open_plate import open_plate
from dflcore.progress import LoggedRun, RunControl
from dflcore.segment.apply import apply_segmenter
from dflcore.train.preview import write_png
from dflcore.train.segmenter import SegmenterResult, train_segmenter
from dflcore.types import Authorization, FaceType, FloatArray
from dflcore.weights.store import WeightStore

LABELLED = 16
FRAME_STEP = 3
ALIGNED_SIZE = 256
MIN_COVERED_SHARE = 0.01
"""Faces of which less is covered count as free."""
_STRIP_FACES = 10
_STAGE = "segment"


@dataclass(frozen=True, slots=True)
class _Scores:
    """Overlaps of one kind of mask with the truth, over the faces that were not labelled.

    Attributes:
        every: one value per face. near: per covered face, in the neighbourhood of what covers it.
        cut: per covered face, the share of the covered part that the mask leaves out.
    """

    every: NDArray[np.float64]
    near: NDArray[np.float64]
    cut: NDArray[np.float64]


def bench_few_shot(
    movie_path: Path,
    folder: Path,
    *,
    labelled_count: int = LABELLED,
    minutes: float | None = 12.0,
    iterations: int | None = None,
    preset: str = DEFAULT_SEGMENT_PRESET,
    frame_step: int = FRAME_STEP,
    device: str = "auto",
    strip_path: Path | None = None,
    control: RunControl | None = None,
) -> list[Figure]:
    """Label a few covered faces of a movie, train, and compare with the truth on all others; the hull beside it.

    Args:
        movie_path: a clip of one talking head.
        folder: where facesets and model go.
        labelled_count: faces that are labelled, spread evenly; all others are held out.
        minutes, iterations: budget of the training.
        preset: segmentation network.
        frame_step: every how many frames a face is taken.
        device: torch device of training and application.
        strip_path: where a picture of some held-out faces goes: face, truth, hull, network.
        control: told of the progress of the training.

    Raises:
        InvalidInput: the movie shows too few faces.
    """
    control = control or LoggedRun()
    _extract(movie_path, folder / "uncovered", frame_step)
    performance = _cover(folder / "uncovered", folder / "covered")
    names = list(performance)
    labelled = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, labelled_count).round().astype(int))]
    if len(labelled) * 2 > len(names):
        raise InvalidInput(
            f"{movie_path} gives {len(names)} faces, too few to hold any out beside {labelled_count} labelled ones.",
            reason="TOO_FEW_FACES",
            path=movie_path,
        )
    with MaskStore.open(folder / "covered", create=True) as store:
        store.set_labels({name: performance[name].label for name in labelled}, made_by="bench")
    settings = MaskTrainSettings(preset=preset, minutes=minutes, iterations=iterations, device=device)
    trained = train_segmenter(settings, [folder / "covered"], folder / "model", control)
    apply_seconds = _apply(folder, device)
    held_out = [name for name in names if name not in labelled]
    masks = _read_masks(folder / "covered", held_out)
    clean = _read_masks(folder / "uncovered", held_out)
    if strip_path is not None:
        write_png(strip_path, _strip(performance, masks))
    note = f"{movie_path.stem}, {len(labelled)} labelled, {len(held_out)} held out"
    figures = _training_figures(trained, apply_seconds, len(names), f"{note}, {preset}")
    figures += _score_figures(performance, held_out, masks, clean, note)
    return figures


def _extract(movie_path: Path, faceset: Path, frame_step: int) -> None:
    with_all = open_plate(str(movie_path))
    frames = FrameRange.of(list(with_all.frames)[::frame_step])
    with_all.close()
    plate = open_plate(str(movie_path), frames=frames)
    try:
        settings = ExtractSettings(
            face_type=FaceType.WHOLE, aligned_size=ALIGNED_SIZE, max_faces=1, compute_identity=False
        )
        extract_faces(plate, faceset, settings, LoggedRun(), store=WeightStore())
    finally:
        plate.close()


def _cover(uncovered: Path, covered: Path) -> dict[str, CoveredFace]:
    """The faceset once more, with something drawn before the faces; name → what was drawn."""
    performance: dict[str, CoveredFace] = {}
    with (
        Faceset.open(uncovered) as faces,
        FacesetWriter(
            covered,
            face_type=faces.face_type,
            aligned_size=faces.aligned_size,
            settings={},
            authorization=Authorization(),
        ) as writer,
    ):
        for moment, record in enumerate(faces.records()):
            face = cover_face(faces.read_image(record.name), record, moment)
            writer.add_frame(record.plate, record.frame, record.plate_size, [(record, face.image)])
            performance[record.name] = face
    return performance


def _apply(folder: Path, device: str) -> float:
    started = time.perf_counter()
    for faceset in ("covered", "uncovered"):
        apply_segmenter(folder / faceset, folder / "model", device=device)
    return time.perf_counter() - started


def _read_masks(faceset: Path, names: Sequence[str]) -> dict[str, FloatArray]:
    with MaskStore.open(faceset) as store:
        return {name: resize_mask(mask, ALIGNED_SIZE) for name, mask in store.masks(names, "xseg")}


def _training_figures(trained: SegmenterResult, apply_seconds: float, faces: int, note: str) -> list[Figure]:
    values = (
        ("training", trained.elapsed_s / 60.0, "min"),
        ("iterations", float(trained.iteration), ""),
        ("step", trained.step_ms, "ms"),
        ("data share of the step", 100.0 * trained.data_ms / max(trained.step_ms, 1e-9), "%"),
        ("apply", 2.0 * faces / apply_seconds, "faces/s"),
    )
    return [Figure(stage=_STAGE, name=name, value=value, unit=unit, note=note) for name, value, unit in values]


def _score_figures(
    performance: dict[str, CoveredFace],
    held_out: Sequence[str],
    masks: dict[str, FloatArray],
    clean: dict[str, FloatArray],
    note: str,
) -> list[Figure]:
    hulls = {name: performance[name].hull for name in held_out}
    figures = []
    for maker, found in (("network", masks), ("hull", hulls)):
        scores = _score(performance, held_out, found)
        worst = np.sort(scores.every)[: max(1, len(scores.every) // 10)]
        covered = f"{note}, {len(scores.near)} covered"
        figures += [
            _figure(f"IoU, {maker}", scores.every, note),
            _figure(f"IoU, worst tenth, {maker}", worst, note),
            _figure(f"IoU near what covers, {maker}", scores.near, covered),
            _figure(f"covered part cut out, {maker}", scores.cut, covered),
        ]
    free = np.array([intersection_over_union(clean[name], performance[name].hull) for name in held_out])
    figures.append(_figure("IoU, nothing covers, network", free, note))
    figures.append(_figure("IoU, nothing covers, worst tenth, network", np.sort(free)[: max(1, len(free) // 10)], note))
    return figures


def _score(performance: dict[str, CoveredFace], names: Sequence[str], masks: dict[str, FloatArray]) -> _Scores:
    every, near, cut = [], [], []
    for name in names:
        face, mask = performance[name], masks[name]
        every.append(intersection_over_union(mask, face.truth))
        if not _is_covered(face):
            continue
        near.append(intersection_over_union(mask, face.truth, face.neighbourhood))
        hidden = (face.cover > 0.5) & (face.hull > 0.5)
        cut.append(float((mask[hidden] < 0.5).mean()))
    return _Scores(np.array(every), np.array(near), np.array(cut))


def _is_covered(face: CoveredFace) -> bool:
    hidden = ((face.cover > 0.5) & (face.hull > 0.5)).sum()
    return bool(hidden > MIN_COVERED_SHARE * (face.hull > 0.5).sum())


def _figure(name: str, values: NDArray[np.float64], note: str) -> Figure:
    return Figure(stage=_STAGE, name=name, value=float(values.mean()) if len(values) else 1.0, unit="", note=note)


def _strip(performance: dict[str, CoveredFace], masks: dict[str, FloatArray]) -> NDArray[np.uint8]:
    """Columns are held-out faces, spread over the covered ones; rows: face, truth, hull, network."""
    covered = [name for name in masks if _is_covered(performance[name])]
    chosen = [covered[i] for i in np.unique(np.linspace(0, len(covered) - 1, _STRIP_FACES).round().astype(int))]
    faces = [performance[name] for name in chosen]
    rows = [
        [face.image for face in faces],
        [overlay(face.image, face.truth) for face in faces],
        [overlay(face.image, face.hull) for face in faces],
        [overlay(face.image, masks[name]) for name, face in zip(chosen, faces, strict=True)],
    ]
    return strip_picture(rows)
