"""``python -m dflcore.train.parallel.worker``: one process of a training group; :mod:`launch` starts it."""

from __future__ import annotations

import logging
import sys

from dflcore.train.parallel.member import leave, run_member
from dflcore.train.parallel.training import train_as_member

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    leave(run_member(train_as_member, sys.argv[1:]))
