"""The menu *Face Swap*, and callbacks that live in Nuke, never in a script."""

from __future__ import annotations

import nuke

from dflhost import words

from . import actions, asking, selftest


def install() -> None:
    """Add the menu to Nuke's bar and to the nodes' toolbar. Twice is once."""
    bar = nuke.menu("Nuke").addMenu(words.MENU)
    bar.addCommand("DFL Swap", actions.make_node)
    bar.addCommand("Update All", actions.update_all)
    bar.addCommand("Rebuild Nodes", actions.rebuild_all)
    bar.addCommand("Preferences…", asking.preferences)
    bar.addCommand("Self-test", selftest.run_from_menu)
    nuke.menu("Nodes").addMenu(words.MENU).addCommand("DFL Swap", actions.make_node)
    nuke.removeKnobChanged(actions.knob_changed)
    nuke.removeOnScriptLoad(actions.script_loaded)
    nuke.addKnobChanged(actions.knob_changed)
    nuke.addOnScriptLoad(actions.script_loaded)
