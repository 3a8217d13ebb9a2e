"""What the tab asks for and its buttons, from top to bottom, as it draws them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bpy
from inside import answer

import dflblender

dflblender.register()
from dflblender import panels  # noqa: E402


class Layout:
    """Writes down the words of what is drawn into it."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def column(self, **how: Any) -> Layout:
        return Layout(self.words)

    row = box = column

    def prop(self, data: Any, name: str, *, text: str | None = None) -> None:
        self.words.append(data.bl_rna.properties[name].name if text is None else text)

    def operator(self, name: str, *, text: str = "", icon: str = "") -> Any:
        module, _, verb = name.partition(".")
        self.words.append(text or getattr(getattr(bpy.ops, module), verb).get_rna_type().name)
        return SimpleNamespace()

    def _without_words(self, *facts: Any, **how: Any) -> None:
        """Menus behind an arrow, and the state's texts."""

    operator_menu_enum = label = progress = _without_words


drawn: list[str] = []
bpy.context.scene.face_swap.use_range = True
panels.Main.draw(SimpleNamespace(layout=Layout(drawn)), bpy.context)
answer(drawn=drawn)
