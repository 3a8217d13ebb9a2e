# SPDX-License-Identifier: GPL-3.0-or-later
"""Face swaps in Blender 4.2 and newer: an extension that translates between Blender and the face swap daemon.

What is not Blender's vocabulary lies in ``_dflhost``, the client that all hosts share, which the build copies in.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for module in _modules():
        module.register()


def unregister() -> None:
    """Called by Blender when it is disabled: no class, property, timer, handler or thread of ours stays."""
    for module in reversed(_modules()):
        module.unregister()


def _modules() -> tuple[Any, ...]:
    """In the order of registration; imported here, so that what knows no Blender can be read without one."""
    from . import ops_connect, ops_faces, ops_masks, ops_menus, ops_result, ops_swap, panels, prefs, props, runtime

    operators = (ops_connect, ops_faces, ops_menus, ops_swap, ops_result, ops_masks)
    return (prefs, props, *operators, panels, runtime)
