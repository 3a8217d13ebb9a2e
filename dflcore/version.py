"""The version of the installed distribution, as written into every faceset, model and frame."""

from importlib import metadata

try:
    __version__ = metadata.version("dfl-compositor")
except metadata.PackageNotFoundError:  # a bare checkout on the path, as a farm may mount it
    __version__ = "0.1.0+source"

SOFTWARE = f"dfl {__version__}"
"""The text that goes into headers and indexes."""
