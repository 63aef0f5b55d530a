"""JSON as every command writes it: a number that is not finite is null, and nothing unseen acts."""

from __future__ import annotations

import json
from typing import Any

from bench.visible_text import visible_json


def plain(content: object) -> Any:  # noqa: ANN401 (whatever JSON has)
    """Dataclasses, mappings, sequences, dates and numbers as what JSON has; what is not finite is None."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(content, inf_nan_mode="null")


def to_json(content: object, indent: int = 2) -> str:
    """The text of a whole file; numbers in full precision, as Python writes them."""
    return visible_json(json.dumps(plain(content), indent=indent, ensure_ascii=False, allow_nan=False)) + "\n"
