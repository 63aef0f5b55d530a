"""The templates of pages: whatever they are given is escaped, and what they lack is an error."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.resources import resource


def page_templates() -> Environment:
    """The folder of templates; add filters before asking for one."""
    return Environment(
        loader=FileSystemLoader(resource("reports/templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
