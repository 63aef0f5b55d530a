"""The page: one file, everything escaped, every number led to what is known of it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bench.bandit2d.stored import Illustrations
from bench.data.manifest import load_manifest
from bench.records import DatasetRecord
from bench.report.formats.facts import typeset
from bench.report.formats.html import headline, of_expectations, render, said_once, strip_of, to_decide
from bench.report.judgement import Judgement, SuiteVerdict
from bench.report.measured import Origin, ReportData, SeedScore
from tests.bandit2d.clouds import illustration, moving_clouds
from tests.report.builders import AWKWARD, WHEN, measured, toy_data, toy_measured, toy_table
from tests.report.verdicts import cell_verdict, comparison, judged_table, toy_judgement

VOID = frozenset(("meta", "link", "br", "use", "input"))
LOADS = ("src", "srcset", "data", "action", "poster", "background")


class _Page(HTMLParser):
    """Collects what the tests ask about; fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.loads, self.shown = [], [], [], [], [], []
        self.texts = {}
        """Text inside of every element with an id."""
        self.feed(text)
        assert self.open == []
        self.text = " ".join("".join(self.shown).split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.loads += [values[name] for name in LOADS if name in values]
        if tag not in VOID:
            self.open.append((tag, values.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] not in ("script", "style"):
            self.shown.append(data)
            for _, id_ in self.open:
                if id_:
                    self.texts[id_] = self.texts.get(id_, "") + data


def _data():
    """Toy data whose first cell's origin and settings are known."""
    origin = Origin(
        trial_id=10, run_id="run-1", code_version="0.1.0", code_commit="0123456789abcdef", code_dirty=False,
        code_sha256=None, dataset_sha256="fe" * 32, simulator="mujoco 3.4.0", device="cpu: <Some> CPU",
        runner="eager", threads=2, stack=[0, 1, 2], training_seconds=7200.0, evaluation_seconds=60.0,
    )  # fmt: skip
    configuration = {
        "hyperparameters": {"batch_size": 256, "critic_learning_rate": 3e-4, "clip": True},
        "sources": {"batch_size": "Table 4 <main.py>"},
        "reward_transform": "none",
        "evaluation": {"steps": list(range(100, 1100, 100)), "episodes": 10},
    }
    return replace(toy_data(), origins={10: origin}, configurations={"ab" * 32: configuration})


def _text(data=None, judgement=None):
    return render([judged_table()], data or _data(), WHEN, judgement or toy_judgement())


@pytest.fixture(scope="module")
def page():
    return _Page(_text())


def test_nothing_comes_from_elsewhere(page):
    assert page.loads == []
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    text = _text()
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import)\s*\(", text)
    policies = [values["content"] for tag, values in page.tags if values.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'")


def test_names_are_shown_and_never_read_as_html(page):
    for text in (AWKWARD, "bench run --tasks 'a<b>'", "Traceback <b>here</b>", "toys<b>", "cpu: <Some> CPU"):
        assert text in page.text
    for text in ("margins <declared> before", "reduced (budget < 1)", "Table 4 <main.py>"):
        assert text in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "b" not in {tag for tag, _ in page.tags}


def test_links_lead_somewhere_and_ids_are_unique(page):
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_number_leads_to_seeds_interval_protocol_and_where_it_comes_from(page):
    (row,) = re.findall(
        rf"<th scope=\"row\">{re.escape('a_b&amp;c&lt;script&gt;')}</th>.*?</tr>", _text(), re.S
    )[:1]
    (link,) = re.findall(r'class="number" href="#(made-[^"]+)">99\.5', row)
    facts = " ".join(page.texts[link].split())
    for fact in (
        "reproduced: no difference that matters",
        "99.5 ± 1.5",
        "0: 98.0, 1: 101.0, 2: 99.5",
        "\N{MINUS SIGN}0.1, 90 % interval \N{MINUS SIGN}2.1 to +1.9; margin ±5.0",
        "the last evaluation, 10 episodes each",
        "99.6 ± 1.00 (5 seeds, 10 episodes each, final checkpoint, ± standard error over",
        "d = 99.5 \N{MINUS SIGN} 99.6 = \N{MINUS SIGN}0.1",
    ):
        assert fact in facts
    home = " ".join(page.texts[link.rpartition("-")[0]].split())
    for fact in ("commit 0123456789ab", "fefefefefefe", "abababababab", "10, 11, 12", "mujoco 3.4.0"):
        assert fact in home


def test_hyperparameters_stand_with_value_and_source(page):
    (home,) = [id_ for id_ in page.texts if re.fullmatch(r"made-dtql-released-a-b-c-script-ab+.*", id_)][:1]
    text = " ".join(page.texts[home].split())
    assert re.search(r"batch_size\s*256\s*Table 4 <main.py>", text)
    assert re.search(r"critic_learning_rate\s*0\.0003\s*unknown", text)
    assert re.search(r"clip\s*yes\s*unknown", text)
    assert re.search(r"reward_transform\s*none", text)
    assert "100, 200, …, 1,000 (10 in all)" in text
    assert "2.0 h" in text


def test_data_that_is_not_d4rls_is_said_beside_the_answer():
    known = load_manifest().files["hopper-medium-v2"].sha256
    own = DatasetRecord("hopper-medium-v2", known, 1_000_000, "verified", "d4rl")
    wrong = replace(own, sha256="ab" * 32, rows=40, verification="mismatch")
    awkward = replace(wrong, name=AWKWARD)
    follows = "its scores will not be comparable"

    def text(*datasets):
        return _Page(render([toy_table()], replace(toy_data(), datasets=datasets), WHEN)).text

    assert follows not in text(own)
    said = text(own, wrong, awkward)
    assert f"1 dataset is not D4RL's file: {follows} hopper-medium-v2: rows 40, known 1,000,000" in said
    assert f"1 dataset is not what its recipe makes: {follows} {' '.join(AWKWARD.split())}" in said


def test_the_answer_counts_the_papers_expectations_on_2d_problems():
    points = [illustration("srpo-points", "bandit-energy-moons", moving_clouds(), reduced=("budget 0.1",))]
    found = ReportData(measured=(), illustrations=Illustrations(tuple(points)))
    assert of_expectations(found.findings) == " 3 of 4 expectations on 2D problems hold, at reduced size."
    assert of_expectations(ReportData().findings) == ""


def test_what_was_measured_of_a_table_stands_before_what_was_not():
    table = judged_table()
    rows = [
        replace(row, cells=tuple(replace(c, measured=None) for c in row.cells))
        for row in table.blocks[0].rows
    ]
    unmeasured = replace(table.blocks[0], title="Nothing of it", rows=rows)
    text = render([replace(table, blocks=[unmeasured, *table.blocks])], _data(), WHEN, toy_judgement())
    kinds = re.findall(r'<(details|div) class="block">', text)
    assert kinds == ["div"] * len(table.blocks) + ["details"]
    assert "Nothing of it: " in text


def test_notes_of_folded_rows_are_folded_too():
    table = judged_table()
    rows = [
        replace(row, cells=tuple(replace(c, measured=None, footnotes=("only there",)) for c in row.cells))
        for row in table.blocks[0].rows
    ]
    unmeasured = replace(table.blocks[0], title="Nothing of it", rows=rows)
    text = render([replace(table, blocks=[unmeasured, *table.blocks])], _data(), WHEN, toy_judgement())
    before, _, folded = text.partition('<details class="folded">')
    assert "1 note on rows without a measurement" in folded.partition("</details>")[0]
    assert "<dd>only there</dd>" in folded.partition("</details>")[0]
    assert "<dd>only there</dd>" not in before
    assert 'class="folded"' not in render([table], _data(), WHEN, toy_judgement())


def test_the_headline_says_what_came_out_and_how_sure_that_is(page):
    assert (
        "1 of 1 suite mean reproduced; 1 of 4 judged cells reproduced, 2 not reproduced, 1 inconclusive."
        in page.text
    )
    assert "88.1 measured, 87.9 printed" in page.text
    assert "Difference +0.2, 90 % interval \N{MINUS SIGN}0.8 to +1.2; margin ±3.0." in page.text
    for number, words in ((1, "reproduced"), (1, "not reproduced, below"), (1, "not comparable")):
        assert re.search(rf"\b{number} \S {words}", page.text)
    assert "7 trials stored: 7 finished, 0 failed; 1 run." in page.text


def test_the_headline_counts_as_measured_what_has_a_score():
    finished, cut_off = measured("mine"), measured("yours", scores=())
    answers = {
        "2 cells begun, none of which has a score yet.": (cut_off, cut_off),
        "1 cell measured and 2 begun, none of which a paper prints a number for: there is no verdict.": (
            finished, cut_off, cut_off,
        ),
        "1 cell measured, none of which a paper prints a number for: there is no verdict.": (finished,),
    }  # fmt: skip
    for answer, entries in answers.items():
        assert headline(Judgement(()), ReportData(measured=entries)) == answer


def test_means_over_some_of_the_tasks_are_not_passed_off_as_the_suites():
    suite = SuiteVerdict(
        "toys", "DTQL", "dtql", "last", "not comparable", 2, 1, 33.3, 44.4, reasons=("a: not measured",)
    )
    text = _Page(render([toy_table()], toy_data(), WHEN, Judgement((), (suite,)))).text
    assert "1 of 2 tasks judged. a: not measured" in text
    assert "33.3" not in text


def test_the_list_begins_with_what_needs_attention(page):
    listed = [values["data-task"] for tag, values in page.tags if tag == "tr" and values.get("data-verdict")]
    assert listed == [
        "hopper-medium-v2", "walker2d-medium-v2", "halfcheetah-medium-v2", AWKWARD, "antmaze-umaze-v0",
    ]  # fmt: skip
    assert "few seeds; 7 further seeds would decide" in page.text


def test_what_lacks_seeds_is_not_called_judged():
    one_seed = cell_verdict("inconclusive", "b", reasons=("1 seed: no spread to judge by",))
    answer = headline(Judgement((one_seed,)), toy_data())
    assert answer.startswith("No printed number can be judged yet: 1 cell measured, none")
    tested = cell_verdict("reproduced", AWKWARD, comparison(-0.1, 2.0))
    answer = headline(Judgement((tested, one_seed)), toy_data())
    assert answer == "1 of 1 judged cell reproduced, 0 not reproduced, 0 inconclusive."


def test_what_would_decide_is_said_only_where_seeds_would():
    def said(**changes):
        return to_decide(cell_verdict("inconclusive", AWKWARD, **changes))

    tested = comparison(4.5, 1.0)
    assert said(test=tested, further_seeds=1) == "1 further seed would decide"
    near = "even 100 more seeds would not decide: the difference lies too near the margin"
    assert said(test=tested) == near
    # Beside an error of 4 points our own part of it, 1.5 over the root of 3, is small.
    uncertain = "even 100 more seeds would not decide: the printed number is too uncertain"
    assert said(test=comparison(0.5, 8.0)) == uncertain
    # More seeds are just what these lack.
    for reason in ("1 seed: no spread to judge by", "2 of 5 seeds have not finished"):
        assert said(reasons=(reason,)) == reason
    lost = ("1 of 5 seeds failed: the mean of the others says too much",)
    assert said(test=tested, reasons=lost) == lost[0]
    assert to_decide(cell_verdict("below", AWKWARD, comparison(-9.0, 1.0))) == ""


def test_intervals_are_drawn_in_margins_and_end_at_the_edge():
    strip = strip_of(comparison(8.0, 1.0, margin=5.0))
    middle, margin = strip.width / 2, strip.band[1] / 2
    assert strip.band[0] == middle - margin
    drawn = (strip.dot, strip.low, strip.high)
    assert drawn == pytest.approx([middle + margin * value / 5 for value in (8, 7, 9)], abs=0.05)
    far = strip_of(comparison(0.0, 99.0))
    assert 0 < far.low < far.high < far.width
    assert (strip.beyond, far.beyond) == (0, 0)
    assert strip_of(comparison(-40.0, 1.0)).beyond == -1
    assert strip_of(None) is None


def test_no_verdict_is_told_by_colour_alone(page):
    text = _text()
    for cell in re.findall(r'<td class="measured[^>]*data-verdict="reproduced".*?</td>', text, re.S):
        assert "✓" in cell
        assert '<span class="spoken">reproduced: </span>' in cell


def test_numbers_are_set_as_in_print():
    text = "d = -1.0 - 2.5, n = 5: 90 % of hopper-medium-v2, seeds 0-4, 12.3 ± 1.2 on 2026-11-21"
    assert typeset(text) == (
        "d = \u22121.0 \u2212 2.5, n\u00a0=\u00a05: 90\u00a0% of hopper-medium-v2, seeds 0-4, "
        "12.3\u00a0±\u00a01.2 on 2026\u201111\u201121"
    )


def test_sentences_of_captions_are_said_once():
    captions = ["Over seeds. Score 0 is bad.", "Over seeds. Score 0 is bad.", "Over seeds. Failed: 1."]
    about, own = said_once(captions)
    assert (about, own) == ("Over seeds.", ["Score 0 is bad.", "Score 0 is bad.", "Failed: 1."])
    assert said_once(captions[:2]) == ("", captions[:2])


def test_what_is_the_same_in_all_rows_is_said_once(page):
    assert "Unless said otherwise: budget 1, physics d4rl, task v. 1, n = 3." in page.text
    heads = re.findall(r'<th scope="col" class="condition">', _text())
    assert heads == []


def test_where_the_results_lie_and_on_how_many_machines_stands_on_top():
    data = _data()
    runs = tuple(replace(data.runs[0], hardware={"hostname": name}) for name in ("n1", "n2", "n1"))
    text = _Page(render([toy_table()], replace(data, runs=runs), WHEN, store="demo/<x>.sqlite")).text
    assert "by bench report from demo/<x>.sqlite." in text
    assert "3 runs on 2 machines (n1, n2)." in text


def test_sections_with_nothing_to_show_are_left_out():
    page = _Page(render([toy_table()], ReportData(), WHEN))
    assert not {"verdicts", "failures", "making", "runs", "learning-curves", "profiles"} & set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_an_empty_store_says_what_to_type():
    text = render([toy_table()], ReportData(), WHEN)
    assert "bench run --suite quickstart" in text
    assert "Nothing has been measured yet." in text
    unjudged = render([toy_table()], toy_data(), WHEN)
    assert "measured, none of which a paper prints a number for" in unjudged


def test_no_nan_is_shown():
    nan = float("nan")
    broken = replace(
        toy_measured()[0], trials=(SeedScore(1, 0, "finished", nan), SeedScore(2, 1, "failed", None))
    )
    text = render([toy_table(broken)], ReportData(measured=(broken,)), WHEN)
    assert "nan" not in _Page(text).text.lower()
    assert "0 of 2 seeds" in text


def test_a_page_without_provenance_is_whole():
    _Page(render([toy_table()], toy_data(), WHEN))
