"""How methods look in every figure, on paper and on the page: name, colour, dashes, marker."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from algorithms.registry import methods

Dashes = tuple[float, ...]
"""Lengths of line and gap in line widths; empty: a solid line."""

# After Okabe and Ito: told apart by colour-blind people. Mid-tones only, so that each stands out on white and
# on black; in greyscale, where mid-tones are alike, dashes and markers tell methods apart.
BROWN, VIOLET, GREY, OLIVE = "#A6761D", "#7B5FB5", "#7A858F", "#7F8F1F"
SOLID: Dashes = ()
DASHED: Dashes = (5, 1.8)
DASH_DOTTED: Dashes = (6, 1.6, 1.4, 1.6)
SHORT_DASHED: Dashes = (2.4, 1.3)
LONG_DASHED: Dashes = (9, 2)
TWICE_DOTTED: Dashes = (6, 1.5, 1.2, 1.5, 1.2, 1.5)


@dataclass(frozen=True)
class Style:
    """The look of a method."""

    label: str
    """As the papers print it."""
    colour: str
    dashes: Dashes
    marker: str
    """Matplotlib's code of a marker that can be hollow."""


LINES: dict[str, Dashes] = {
    "solid": SOLID,
    "dashed": DASHED,
    "dash-dotted": DASH_DOTTED,
    "short-dashed": SHORT_DASHED,
    "long-dashed": LONG_DASHED,
    "twice-dotted": TWICE_DOTTED,
}
"""By the names that a method's declaration uses."""

QUOTED: dict[str, Style] = {
    "dql": Style("DQL", BROWN, SOLID, "P"),
    "diffusionql": Style("Diffusion-QL", BROWN, SOLID, "P"),
    "idql": Style("IDQL", VIOLET, DASHED, "X"),
    "iql": Style("IQL", OLIVE, DASH_DOTTED, "<"),
    "td3bc": Style("TD3+BC", OLIVE, SHORT_DASHED, "8"),
}
"""Methods that the papers quote and that this suite does not train."""

FURTHER_DASHES: tuple[Dashes, ...] = ((1, 1.2), (3.5, 1.2, 1, 1.2), (1, 2.4), (3.5, 1.2, 1, 1.2, 1, 1.2))
"""Of a method's second and later configuration on the same axes."""
FURTHER_MARKERS = ("P", "X", "*", "8")

_SPARE = tuple(
    (colour, dashes) for dashes in (SOLID, DASHED, DASH_DOTTED) for colour in (BROWN, VIOLET, OLIVE, GREY)
)


def styles() -> dict[str, Style]:
    """Looks by name in this suite: of the methods that declare one, then of those that are only quoted."""
    declared = {
        name: Style(method.shown, method.look.colour, LINES[method.look.line], method.look.marker)
        for name, method in methods().items()
        if method.look is not None
    }
    return declared | QUOTED


def style_of(algorithm: str) -> Style:
    """The look of a method; one that declares none gets a spare look that depends on its name alone."""
    if (known := styles().get(algorithm)) is not None:
        return known
    number = zlib.crc32(algorithm.encode())
    colour, dashes = _SPARE[number % len(_SPARE)]
    label = methods()[algorithm].shown if algorithm in methods() else algorithm
    return Style(label, colour, dashes, "ospd^v"[number % 6])
