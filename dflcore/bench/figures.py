"""What a benchmark reports: named figures with units, gathered in one run on one machine."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from dflcore.environment import installed_versions, machine_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        stage: ``exr``, ``extract``, ``train``, ``merge``, ``rpc``.
        name: what was measured.
        value, unit: a median where the thing was done more than once.
        note: conditions: size, frames, preset.
    """

    stage: str
    name: str
    value: float
    unit: str
    note: str = ""


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of ``work`` after one call that does not count."""
    work()
    times: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def print_figures(figures: Sequence[Figure], *, as_json: bool) -> None:
    """A table for people, or one JSON object for programs, with the machine and the versions."""
    if as_json:
        report = {
            "machine": machine_name(),
            "versions": installed_versions(),
            "figures": [asdict(figure) for figure in figures],
        }
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    table = Table(title=machine_name(), title_justify="left")
    for heading in ("stage", "what", "value", "unit", "conditions"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for figure in figures:
        table.add_row(figure.stage, figure.name, f"{figure.value:.4g}", figure.unit, figure.note)
    Console().print(table)
