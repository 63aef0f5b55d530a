"""Docstrings of dataclass fields, read from the source: importing a method would load torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def config_field_docs(module: str, name: str) -> dict[str, str]:
    """Docstring of every field of the dataclass `name` in `module`, by field name, those it inherits first.

    A field's docstring is the string that stands right after it. Empty where module or class do not exist.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            inherited = [config_field_docs(module, base) for base in bases]
            return {key: doc for docs in (*inherited, _field_docs(node)) for key, doc in docs.items()}
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return config_field_docs(node.module or "", name)
    return {}


def _field_docs(config: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for field, following in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_doc = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            docs[field.target.id] = " ".join(str(following.value.value).split()) if is_doc else ""
    return docs
