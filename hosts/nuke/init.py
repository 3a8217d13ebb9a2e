"""Runs in every Nuke of a machine that has this folder on NUKE_PATH, also on the farm: it must do nothing else."""

import os

import nuke

nuke.pluginAddPath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "icons"))
