"""The report of a demo: figures, checks, times and what it ran on, as ``report.json``."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dflcore.color.ocio import ColorConverter
from dflcore.demo.checks import Check, DemoFigures, check_demo
from dflcore.demo.layout import DemoLayout
from dflcore.demo.measure import FaceMeter, measure
from dflcore.demo.pictures import write_before_after, write_contact_sheet
from dflcore.demo.plates import FRAMES_PER_SECOND
from dflcore.environment import installed_versions, processor_name
from dflcore.io.atomic import write_text
from dflcore.models.checkpoint import ModelFolder


def measure_demo(folder: Path) -> dict[str, Any]:
    """Measure a finished demo, write its pictures and ``report.json``.

    Returns:
        The report; ``passed`` says whether every check was met.

    Raises:
        DflError: a part of the demo is not there or cannot be read.
    """
    layout = DemoLayout(folder)
    converter = ColorConverter()
    figures = measure(layout, FaceMeter(), converter)
    write_contact_sheet(layout, converter, portraits=True)
    write_before_after(layout, converter, FRAMES_PER_SECOND, and_back=True)
    report = build_report(layout, figures, check_demo(figures))
    write_text(layout.report, json.dumps(report, indent=2) + "\n")
    return report


def build_report(layout: DemoLayout, figures: DemoFigures, checks: list[Check]) -> dict[str, Any]:
    """The report as plain values.

    Raises:
        DflError: the model cannot be read.
    """
    stages = _stage_seconds(layout.stages)
    values = asdict(figures)
    return {
        "passed": all(check.passed for check in checks),
        "seconds": round(sum(stages.values()), 1),
        "stages_s": stages,
        **{name: values[name] for name in _HEADLINES},
        "frames": len(figures.frames),
        "checks": [check.as_values() for check in checks],
        "figures": values,
        "training": _training(layout.model),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor_name(),
            "cores": os.cpu_count(),
        },
        "versions": installed_versions(),
    }


_HEADLINES = (
    "identity_to_source",
    "identity_to_source_max",
    "identity_to_target",
    "source_to_target",
    "sharpness_ratio",
    "contrast_ratio",
    "outside_matte_max_difference",
    "max_linear_value",
)


def _stage_seconds(path: Path) -> dict[str, float]:
    """Seconds per stage as the runner wrote them; empty when the demo was run by hand."""
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(seconds) for name, seconds in stages.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _training(path: Path) -> dict[str, Any]:
    """What the model folder says about its training. Raises DflError when it cannot be read."""
    generation, _ = ModelFolder.open(path).load(with_training=False)
    if generation is None:
        return {}
    return {
        "iterations": generation.iteration,
        "seconds": generation.state.get("elapsed_s"),
        "settings": generation.state.get("settings"),
    }
