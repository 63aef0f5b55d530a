"""Charts as LaTeX floats with their captions, to be put into a paper with \\input."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.charts import Chart
from bench.report.renderers.latex import escape

HEADER = "% In the preamble: \\usepackage{graphicx}\n"


def render(charts: Sequence[Chart], format_: str) -> str:
    """One float per chart, in its printed size; wide ones span both columns."""
    return HEADER + "".join(_float(chart, format_) for chart in charts)


def _float(chart: Chart, format_: str) -> str:
    name = "figure*" if chart.wide else "figure"
    lines = (
        f"\\begin{{{name}}}",
        "  \\centering",
        f"  \\includegraphics{{{chart.id}.{format_}}}",
        f"  \\caption{{{escape(chart.title)}. {escape(chart.about)}}}",
        f"  \\label{{fig:{chart.id}}}",
        f"\\end{{{name}}}",
    )
    return "\n".join(lines) + "\n"
