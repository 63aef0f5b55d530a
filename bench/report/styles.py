"""How methods look in every figure, on paper and on the page: name, colour, dashes, marker."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

Dashes = tuple[float, ...]
"""Lengths of line and gap in line widths; empty: a solid line."""

# After Okabe and Ito: told apart by colour-blind people. Mid-tones only, so that each stands out on white and
# on black; in greyscale, where mid-tones are alike, dashes and markers tell methods apart.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
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


STYLES: dict[str, Style] = {
    "dtql": Style("DTQL", BLUE, SOLID, "o"),
    "dtql-kl": Style("DTQL (KL)", BLUE, LONG_DASHED, "p"),
    "srpo": Style("SRPO", VERMILLION, DASHED, "s"),
    "srpo-points": Style("SRPO (points)", VERMILLION, LONG_DASHED, "h"),
    "edp-td3": Style("EDP+TD3", GREEN, DASH_DOTTED, "^"),
    "edp-iql": Style("EDP+IQL", GREEN, TWICE_DOTTED, "v"),
    "edp-crr": Style("EDP+CRR", GREEN, LONG_DASHED, ">"),
    "bdpo": Style("BDPO", PURPLE, SHORT_DASHED, "D"),
    "bdpo-gaussian": Style("BDPO (Gaussian)", PURPLE, LONG_DASHED, "d"),
    "bdpo-dirac": Style("BDPO (Dirac)", PURPLE, TWICE_DOTTED, "*"),
    "dql": Style("DQL", BROWN, SOLID, "P"),
    "diffusionql": Style("Diffusion-QL", BROWN, SOLID, "P"),
    "idql": Style("IDQL", VIOLET, DASHED, "X"),
    "iql": Style("IQL", OLIVE, DASH_DOTTED, "<"),
    "td3bc": Style("TD3+BC", OLIVE, SHORT_DASHED, "8"),
    "bc": Style("BC", GREY, SOLID, "H"),
}
"""By name in this suite."""

FURTHER_DASHES: tuple[Dashes, ...] = ((1, 1.2), (3.5, 1.2, 1, 1.2), (1, 2.4), (3.5, 1.2, 1, 1.2, 1, 1.2))
"""Of a method's second and later configuration on the same axes."""
FURTHER_MARKERS = ("P", "X", "*", "8")

_SPARE = tuple(
    (colour, dashes) for dashes in (SOLID, DASHED, DASH_DOTTED) for colour in (BROWN, VIOLET, OLIVE, GREY)
)


def style_of(algorithm: str) -> Style:
    """The look of a method; one that is not listed gets a spare look that depends on its name alone."""
    if algorithm in STYLES:
        return STYLES[algorithm]
    number = zlib.crc32(algorithm.encode())
    colour, dashes = _SPARE[number % len(_SPARE)]
    return Style(algorithm, colour, dashes, "ospd^v"[number % 6])
