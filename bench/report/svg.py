"""Matplotlib figures as SVG that stands inside a page: no files, no scripts, readable in light and dark."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager

import matplotlib
from markupsafe import escape
from matplotlib.figure import Figure

# Matplotlib knows no "colour of the surrounding text"; this unlikely colour is replaced by it afterwards.
TEXT_COLOUR = "#010203"

_PATH = re.compile(r' d="([^"]*)"')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def drawing_settings(salt: str, font_size: float = 9) -> AbstractContextManager[None]:
    """Settings under which a figure is drawn and saved; `salt` makes its SVG names repeatable and unique.

    Text stays text: in SVG as such, in PDF by embedded TrueType fonts, which publishers ask for.
    """
    return matplotlib.rc_context(
        {
            "svg.hashsalt": salt,
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
            "font.family": "sans-serif",
            "font.size": font_size,
            # A dollar sign in a name is a dollar sign.
            "text.parse_math": False,
        }
    )


def inline_svg(figure: Figure, dpi: int = 100, title: str = "", about: str = "") -> str:
    """The `<svg>` element alone, scaling with its box, in the colour of the text around it.

    `dpi` is the resolution of the parts that are drawn as pixels; `title` and `about` are for screen readers.
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
    element = _PATH.sub(_short_path, element).replace(TEXT_COLOUR, "currentColor")
    return _titled(element, title, about) if title else element


def _short_path(path: re.Match[str]) -> str:
    """The same path to a hundredth of a point: a page of curves is a third smaller for it."""
    shorter = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", path[1])
    return f' d="{" ".join(shorter.split())}"'


def _titled(element: str, title: str, about: str) -> str:
    end = element.index(">")
    said = f"<title>{escape(title)}</title>\n <desc>{escape(about)}</desc>"
    return f'{element[:end]} role="img">\n {said}{element[end + 1 :]}'
