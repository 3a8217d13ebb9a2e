"""What a very long shot costs beside its pixels: ``python -m dfldaemon.farm.simulate --frames 1000000 --chunk 500``.

Merged frames are pretended: the manifest has an entry for each, and only one chunk's files are on disk, a few pixels
large. Everything else is what a farm's tasks do: divide the range, read the job's description, claim the sequence, fold
the chunk's journal into the manifest, check the keys and files of a chunk.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dflcore.frames import FrameRange
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.plate import Window
from dflcore.merge.output import OutputSequence, parse_output, plan_output
from dflcore.merge.provenance import (
    FrameEntry,
    MergeIdentity,
    SequenceManifest,
    file_fact,
    parts_folder,
    read_manifest,
)
from dflcore.types import FaceType
from dfldaemon.cli.chunks import Chunk
from dfldaemon.farm.job import FarmJob, FarmPath, chunk_count

FIRST_FRAME = 1001
LAYER_FACT = {"size": 12_345_678, "sha256": "0123456789abcdef" * 4}
T = TypeVar("T")


@dataclass(frozen=True)
class _NoPlate:
    """A plate of which only the name is asked."""

    name: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; one line of JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="python -m dfldaemon.farm.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000, metavar="N", help="frames of the shot")
    parser.add_argument("--chunk", type=int, default=500, metavar="N", help="frames per task")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dfl-simulate-") as folder:
        figures = simulate(Path(folder), options.frames, options.chunk)
    lines = [json.dumps(figures)] if options.json else [f"{name}: {value}" for name, value in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def simulate(folder: Path, frame_count: int, chunk: int) -> dict[str, Any]:
    """Seconds and bytes by name; ``folder`` is empty and is filled."""
    last = FIRST_FRAME + frame_count - 1
    figures: dict[str, Any] = {"frames": frame_count, "chunk": chunk}
    frames, figures["read_range_s"] = _timed(lambda: FrameRange.parse(f"{FIRST_FRAME}-{last}"))
    paths = {role: FarmPath(str(folder), role) for role in ("plate", "model", "faceset", "output")}
    job = FarmJob(name="simulation", kind="merge", paths=paths, frames=frames, chunk=chunk)
    figures["tasks"] = chunk_count(job)
    parts, figures["divide_s"] = _timed(
        lambda: [Chunk(index, figures["tasks"]).of(frames) for index in range(1, figures["tasks"] + 1)]
    )
    text = json.dumps(job.to_values())
    figures["job_bytes"] = len(text)
    _, figures["task_reads_job_s"] = _timed(lambda: FarmJob.from_values(json.loads(text)))
    figures |= _manifest_figures(folder, parts)
    return figures


def _manifest_figures(folder: Path, parts: Sequence[FrameRange]) -> dict[str, Any]:
    """Of one task of the middle of the shot, all others done; last, of those who ask about the whole shot."""
    figures: dict[str, Any] = {}
    identity = _identity(folder)
    part = parts[len(parts) // 2]
    keys = {frame: identity.frame_key(f"plate {frame}", ()) for frame in part}
    _, figures["keys_of_a_chunk_s"] = _timed(lambda: [identity.frame_key(f"plate {frame}", ()) for frame in part])
    pattern = str(folder / "out" / "swap.####.exr")
    sequence = parse_output(pattern, (), frame_count=len(part))
    others = [one for one in parts if one is not part]
    _, figures["all_other_tasks_s"] = _timed(lambda: _pretend_tasks(sequence, identity, others))
    task, figures["task_claims_sequence_s"] = _timed(lambda: SequenceManifest(sequence.manifest, identity))
    for frame in part:
        path = sequence.pattern.path(frame)
        _write_small(path)
        written = {path.name: path.stat().st_mtime_ns}
        entry = FrameEntry(key=keys[frame], files={path.name: file_fact(path)}, faces=1, written_ns=written)
        task.begin(frame, keys[frame])
        task.finish(frame, entry)
    _, figures["task_folds_journal_s"] = _timed(task.close)
    plate: Any = _NoPlate(str(folder / "plate.####.exr"))
    plan, figures["task_checks_done_chunk_s"] = _timed(
        lambda: plan_output(pattern, keys, identity.run_key, siblings=(), overwrite=False, plate=plate)
    )
    figures["frames_kept"] = len(plan.kept)
    figures["task_peak_memory_mb"] = _peak_memory_mb()
    sizes = [path.stat().st_size for path in (sequence.manifest, *parts_folder(sequence.manifest).glob("*.json"))]
    figures |= {"manifest_files": len(sizes), "manifest_largest_bytes": max(sizes), "manifest_bytes": sum(sizes)}
    whole, figures["read_whole_manifest_s"] = _timed(lambda: read_manifest(sequence.manifest))
    figures["frames_known"] = len(whole.frames)
    figures["peak_memory_mb"] = _peak_memory_mb()
    return figures


def _pretend_tasks(sequence: OutputSequence, identity: MergeIdentity, parts: Iterable[FrameRange]) -> None:
    """One after the other; frames are named in the manifest and not made."""
    for part in parts:
        manifest = SequenceManifest(sequence.manifest, identity)
        for frame in part:
            name = sequence.pattern.path(frame).name
            manifest.finish(frame, FrameEntry(key="0" * 32, files={name: LAYER_FACT}, plate="1" * 32, faces=1))
        manifest.close()


def _peak_memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _identity(folder: Path) -> MergeIdentity:
    return MergeIdentity(
        plate=str(folder / "plate.####.exr"),
        color_space="ACEScg",
        output_space="ACEScg",
        model_name="simulation",
        model_digest="2" * 64,
        face_type=FaceType.FULL,
        settings={},
        settings_digest="3" * 32,
    )


def _write_small(path: Path) -> None:
    window = Window(x=0, y=0, width=4, height=4)
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=np.zeros((4, 4, 3), dtype=np.float16))
    write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    made = work()
    return made, round(time.perf_counter() - start, 4)


if __name__ == "__main__":
    sys.exit(main())
