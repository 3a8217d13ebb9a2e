"""``dfl weights list|fetch|verify``: works without a daemon."""

from __future__ import annotations

import argparse

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dflcore.errors import DataCorrupt
from dflcore.weights.store import WeightState, WeightStatus, WeightStore, search_folders
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.output import Output
from dfldaemon.cli.session import CliSession

STATE_STYLES = {
    WeightState.VERIFIED: "green",
    WeightState.PRESENT: "",
    WeightState.UNVERIFIED: "yellow",
    WeightState.DAMAGED: "bold red",
    WeightState.MISSING: "dim",
}


def list_weights(session: CliSession, options: argparse.Namespace) -> int:
    """Every weight of the index and whether it is here."""
    _show(session.output, open_store(session, options.weights).list())
    return OK


def fetch(session: CliSession, options: argparse.Namespace) -> int:
    """Get weights from their origin.

    Raises:
        DflError: one could not be had; those before it are kept.
    """
    store = open_store(session, options.weights)
    for name in options.names:
        _fetch_one(session.output, store, name, is_offline=options.offline)
    _show(session.output, [store.verify(name) for name in options.names])
    return OK


def verify(session: CliSession, options: argparse.Namespace) -> int:
    """Read weights that are here and compare them with their checksums.

    Raises:
        NotFound: a name is not in the index.
        DataCorrupt: at least one file is damaged; all are named.
    """
    store = open_store(session, options.weights)
    names = options.names or [status.info.name for status in store.list() if status.state is not WeightState.MISSING]
    statuses = [store.verify(name) for name in names]
    _show(session.output, statuses)
    damaged = [str(status.path) for status in statuses if status.state is WeightState.DAMAGED]
    if damaged:
        raise DataCorrupt(
            f"These weights are not the published files: {', '.join(damaged)}. Delete them and fetch them again.",
            reason="WEIGHTS_DAMAGED",
            path=", ".join(damaged),
        )
    return OK


def open_store(session: CliSession, setting: str = "") -> WeightStore:
    """The store as the environment and a flag describe it. Raises DataCorrupt when its index is damaged."""
    return WeightStore(search_folders(setting, session.environ))


def weight_values(status: WeightStatus) -> dict[str, object]:
    """A weight as plain values for ``--json``."""
    return {
        "name": status.info.name,
        "file": status.info.file,
        "state": status.state.value,
        "path": str(status.path) if status.path else None,
        "size": status.info.size,
        "sha256": status.info.sha256,
        "licence": status.info.licence,
        "origin": status.info.origin,
        "fetchable": bool(status.info.url),
    }


def _fetch_one(output: Output, store: WeightStore, name: str, *, is_offline: bool) -> None:
    if output.is_json or output.is_quiet or not output.error_console.is_terminal:
        store.fetch(name, offline=is_offline)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.error_console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        store.fetch(
            name,
            offline=is_offline,
            progress=lambda received, expected: progress.update(task, completed=received, total=expected),
        )


def _show(output: Output, statuses: list[WeightStatus]) -> None:
    for status in statuses:
        output.event("weight", **weight_values(status))
    if output.is_json:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "state", "size", "licence", "file"):
        table.add_column(heading, overflow="fold")
    for status in statuses:
        size = f"{status.info.size / 1e6:.1f} MB" if status.info.size else "?"
        table.add_row(
            status.info.name,
            f"{status.state.value}",
            size,
            status.info.licence,
            str(status.path or status.info.file),
            style=STATE_STYLES[status.state],
        )
    output.console.print(table)
