"""Public type stubs of a host's Python API → a table of names and signatures, from which strict fakes are made.

The table has facts only: which classes, methods, functions and constants there are, and what arguments they take.

    python stub_table.py <folder with .pyi files> <out.json> --module _nuke --module callbacks --source "types-nuke ..."
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from typing import Any


def read_stubs(folder: Path, modules: list[str], source: str) -> dict[str, Any]:
    """All public names of some stub modules as one flat table.

    Returns:
        ``functions``: name → signatures (several where overloaded), ``classes``: name → ``bases``, ``methods``,
        ``class_methods``, ``attributes``; ``constants``: names. A signature is its parameters joined by blanks:
        ``name``, ``name=`` with a default, ``*args``, ``**kwargs``; without ``self``.
    """
    table: dict[str, Any] = {"source": source, "constants": [], "functions": {}, "classes": {}}
    for module in modules:
        for statement in ast.parse((folder / f"{module}.pyi").read_text("utf-8")).body:
            _read_statement(table, statement)
    table["constants"] = sorted(set(table["constants"]))
    return table


def _read_statement(table: dict[str, Any], statement: ast.stmt) -> None:
    if isinstance(statement, ast.FunctionDef):
        table["functions"].setdefault(statement.name, []).append(signature(statement.args, bound=False))
    elif isinstance(statement, ast.ClassDef):
        table["classes"][statement.name] = _read_class(statement)
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        table["constants"].append(statement.target.id)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name) and isinstance(statement.value, ast.Name):
                if statement.value.id in table["functions"]:
                    table["functions"][target.id] = table["functions"][statement.value.id]
            elif isinstance(target, ast.Name):
                table["constants"].append(target.id)


def _read_class(statement: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bases": [base.id for base in statement.bases if isinstance(base, ast.Name)],
        "methods": {},
        "class_methods": [],
        "attributes": [],
    }
    for inner in statement.body:
        if isinstance(inner, ast.FunctionDef):
            marks = {mark.id for mark in inner.decorator_list if isinstance(mark, ast.Name)}
            is_static = "staticmethod" in marks
            if marks & {"staticmethod", "classmethod"} and inner.name != "__init__":
                found["class_methods"].append(inner.name)
            found["methods"].setdefault(inner.name, []).append(signature(inner.args, bound=not is_static))
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            found["attributes"].append(inner.target.id)
    return found


def signature(arguments: ast.arguments, *, bound: bool) -> str:
    """Parameters of a function; ``bound`` leaves out the first."""
    positional = [*arguments.posonlyargs, *arguments.args]
    plain = len(positional) - len(arguments.defaults)
    words = [name.arg + ("=" if index >= plain else "") for index, name in enumerate(positional)]
    words = words[1:] if bound else words
    if arguments.vararg is not None:
        words.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        words.append("*")
    for name, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        words.append(name.arg + ("=" if default is not None else ""))
    if arguments.kwarg is not None:
        words.append(f"**{arguments.kwarg.arg}")
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--module", action="append", required=True)
    parser.add_argument("--source", required=True)
    given = parser.parse_args()
    table = read_stubs(given.folder, given.module, given.source)
    given.out.write_text(json.dumps(table, indent=0, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
