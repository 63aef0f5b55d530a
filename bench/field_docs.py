"""Docstrings of dataclass fields, read from the source: importing a method would load torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def config_field_docs(module: str) -> dict[str, str]:
    """Docstring of every field of the class `...Config` in `module`, by field name, in order.

    A field's docstring is the string that stands right after it. Empty where the module does not exist.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    config = next((node for node in classes if node.name.endswith("Config")), None)
    return _field_docs(config) if config else {}


def _field_docs(config: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for field, following in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_doc = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            docs[field.target.id] = " ".join(str(following.value.value).split()) if is_doc else ""
    return docs
