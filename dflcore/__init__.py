"""The core of the product: plates, facesets, face models and merging. No server, no host, no gRPC.

The packages are imported by name (``from dflcore.merge.pipeline import merge_range``); this module loads nothing, so
that a process which only needs settings or errors never pays for torch.
"""

from dflcore.version import __version__

__all__ = ["__version__"]
