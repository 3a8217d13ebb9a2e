"""Runs in Nukes with a window: the menu. A fault in here must leave Nuke usable."""

import nuke

try:
    import dflnuke.menu

    dflnuke.menu.install()
except Exception as error:  # whatever it is, it may not keep an artist from working
    nuke.tprint(f"Face Swap could not be loaded: {type(error).__name__}: {error}")
