"""Facesets from and to the reference implementation: the one place that clients import from."""

from dflcore.curate.interchange_export import ExportResult, export_legacy
from dflcore.curate.interchange_import import ImportResult, RefusedFace, import_legacy

__all__ = ["ExportResult", "ImportResult", "RefusedFace", "export_legacy", "import_legacy"]
