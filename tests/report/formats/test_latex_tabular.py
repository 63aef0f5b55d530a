"""How a block is set: escaping, digits in line, headers over pairs, stacks of equal width."""

import pytest

from bench.report.formats.latex_tabular import LINE, Stack, escape, points
from bench.report.tables import Amount, Block, Cell, Column, Digits, Row
from tests.report.builders import printed


def cell(value, spread=None, digits=(1, 2), kind="measured", **other):
    return Cell(kind, **{kind: Amount(value, spread)}, digits=Digits(*digits), **other)


def stack(rows, columns, **other):
    """Rows of cells, a label first in each."""
    named = [(Cell("label", f"task {place}"), *row) for place, row in enumerate(rows)]
    block = Block("Tasks", (Column("task", "Task", "label"), *columns), tuple(map(Row, named)))
    return Stack(block, other.get("marked", True))


def one_column(*cells):
    """LaTeX of the cells of a column."""
    found = stack([(one,) for one in cells], [Column("m", "M", "measured", "M")])
    return list(found.columns[1].texts)


def test_every_special_character_is_escaped():
    assert escape("a_b&c%d$e#f{g}h~i^j\\k") == (
        r"a\_b\&c\%d\$e\#f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )
    assert escape("1 ± 2 † <x>") == r"1 $\pm$ 2 $\dagger$ \textless{}x\textgreater{}"
    # A bracket or a star behind the end of a row would be read as its argument.
    assert escape("[1] *x*") == "{[}1] {*}x{*}"
    assert escape("--full\nok") == "-{}-full ok"
    assert escape("漢") == "?"


def test_points_and_signs_stand_in_line_whatever_digits_there_are():
    assert one_column(cell(9.25, 13.06), cell(110.0, 0.07), cell(88.7)) == [
        r"9.2 $\pm$ 13.06",
        r"110.0 $\pm$ \phantom{0}0.07",
        r"88.7\phantom{ $\pm$ 00.00}",
    ]
    paper = [printed("a", "DTQL", 110.0), printed("a", "DTQL", 89.4)]
    whole = [Cell("printed", printed=number) for number in paper]
    object.__setattr__(paper[0], "printed", "110")
    assert one_column(*whole) == [r"110\phantom{.0}", "89.4"]


def test_minus_is_a_minus_and_bold_is_the_mean():
    assert one_column(cell(-1.04, 0.5), cell(2.5, 0.5, bold=True)) == [
        r"$-$1.0 $\pm$ 0.50",
        r"\textbf{2.5} $\pm$ 0.50",
    ]


def test_marks_hang_behind_what_is_printed():
    odd = cell(1.5, not_comparable=("odd",))
    assert one_column(odd, cell(10.25, 0.5)) == [
        r"1.5\rlap{\,$\dagger$}\phantom{ $\pm$ 0.00}",
        r"10.2 $\pm$ 0.50",
    ]
    both = cell(1.5, 0.5, not_comparable=("odd",), footnotes=("more",))
    assert one_column(both) == [r"1.5 $\pm$ 0.50\rlap{\,$\dagger\ddagger$}"]
    unmarked = stack([(both,)], [Column("m", "M", "measured", "M")], marked=False)
    assert unmarked.columns[1].texts == (r"1.5 $\pm$ 0.50",)
    assert stack([(both,)], [Column("m", "M", "measured", "M")]).specification.endswith(r"lr@{\hspace{14pt}}")


def test_a_method_stands_over_what_is_printed_and_what_was_measured():
    pair = [
        Column("a printed", "A (Ours)", "printed", "A"),
        Column("a measured", "A measured", "measured", "A"),
    ]
    single = Column("b", "Another method", "printed", "B")
    lines = stack([(cell(1.0), cell(2.0), cell(3.0, kind="printed"))], [*pair, single]).lines
    assert lines == [
        r" & \multicolumn{2}{c}{A (Ours)} & Another \\",
        "\\cmidrule(lr){2-3}\nTask & printed & measured & method \\\\",
        r"\midrule",
        r"task 0 & 1.0 & 2.0 & 3.0 \\",
    ]


def test_rows_beyond_the_paper_have_their_title_and_averages_a_rule():
    block = Block(
        "Collected twins",
        (Column("task", "Task", "label"), Column("m", "M", "measured")),
        (Row((Cell("label", "a"), cell(1.0))), Row((Cell("label", "Mean"), cell(1.0)), aggregate=True)),
        of_paper=False,
    )
    lines = Stack(block, marked=True).lines
    assert lines[0] == r"\multicolumn{2}{@{}l}{Collected twins} \\"
    assert lines[-2:] == [r"\midrule", r"Mean & 1.0 \\"]


def methods(number):
    return [Column(str(place), f"M{place}", "printed", str(place)) for place in range(number)]


def test_methods_are_stacked_evenly_where_they_do_not_fit_side_by_side():
    whole = stack([[cell(55.5, kind="printed") for _ in range(9)]], methods(9))
    assert whole.within(whole.width) == [whole]
    parts = whole.within(0.65 * whole.width)
    assert [len(part.columns) for part in parts] == [6, 5]
    assert [part.columns[0].texts for part in parts] == [("task 0",), ("task 0",)]
    shown = [column.column.header for part in parts for column in part.columns[1:]]
    assert shown == [column.header for column in methods(9)]
    assert all(part.width <= 0.65 * whole.width for part in parts)


def test_a_method_is_not_torn_apart():
    pairs = [
        column
        for name in "ABC"
        for column in (
            Column(f"{name} printed", name, "printed", name),
            Column(f"{name} measured", f"{name} measured", "measured", name),
        )
    ]
    whole = stack([[cell(55.5, 1.0, kind=column.kind) for column in pairs]], pairs)
    for part in whole.within(0.5 * whole.width):
        assert [column.column.kind for column in part.columns[1:]] == ["printed", "measured"] * (
            len(part.columns) // 2
        )


def test_long_words_are_broken_into_lines():
    words = "a statement that says in many words what was expected of the method"
    block = Block("", (Column("e", "Expected", "label"),), (Row((Cell("label", words),)),))
    tall = Stack(block, marked=True)
    assert tall.specification == r"@{\extracolsep{\fill}}>{\raggedright\arraybackslash}p{120pt}@{}"
    short = Stack(Block("", block.columns, (Row((Cell("label", "a"),)),)), marked=True)
    assert tall.height == pytest.approx(short.height + 2 * LINE)


def test_long_headers_are_broken_but_no_word_is():
    header = "DTQL with KL regulariser (DQL_KL)"
    found = stack([(cell(1.0),)], [Column("k", header, "measured", "K")])
    (group,) = [group for group in found.groups if not group.columns[0].is_text]
    assert " ".join(group.lines) == header
    assert len(group.lines) > 2


def test_widths_are_those_of_computer_modern():
    # By \\settowidth at 8 points.
    for text, width in {
        "halfcheetah-medium-replay-v2": 111.69, "99.6 ± 0.87": 42.5, "99.5 ± 1.50 (n=3)": 67.5,
        "Inference time (s per trajectory)": 120.0, "DTQL (Ours)": 51.99, "measured": 35.0,
    }.items():  # fmt: skip
        assert width - 2 <= points(text) <= 1.1 * width
