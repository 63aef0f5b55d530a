"""Matplotlib figures as SVG that stands inside a page: no files, no scripts, readable in light and dark."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager

import matplotlib
from matplotlib.figure import Figure

# Matplotlib knows no "colour of the surrounding text"; this unlikely colour is replaced by it afterwards.
TEXT_COLOUR = "#010203"


def drawing_settings(salt: str) -> AbstractContextManager[None]:
    """Settings under which a figure is drawn and saved; `salt` makes its SVG names repeatable and unique."""
    settings = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    return matplotlib.rc_context(settings)


def inline_svg(figure: Figure, dpi: int = 100) -> str:
    """The `<svg>` element alone, scaling with its box, in the colour of the text around it.

    `dpi` is the resolution of the parts that are drawn as pixels.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, dpi=dpi, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    element = svg[svg.index("<svg") :]
    element = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", element, count=1)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    # Groups are called the same in every figure; on one page a name may occur once.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    return element.replace(TEXT_COLOUR, "currentColor")
