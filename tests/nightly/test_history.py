"""Nights beside each other: which verdicts have turned, and the page over all of them."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import sync_playwright

from bench.nightly.history import MOST, links_from, nights_page, verdict_changes
from bench.store.database import open_store
from bench.store.nights import nights
from bench.store.writer import Writer
from tests.report.made_up import FIRST_NIGHT, write_nights
from tests.report.test_browser import CHROMIUM, LOW_CONTRAST, OVERFLOW
from tests.store import samples


def night(verdicts, **changes):
    """A night that compared scores and found these verdicts."""
    return samples.night_record(verdicts=verdicts, **changes)


A, B = ("dtql", "dtql", "a", "last"), ("dtql", "dtql", "b", "last")


@pytest.mark.parametrize(
    ("history", "now", "fails"),
    [
        ([{A: "reproduced"}], {A: "below"}, True),
        ([{A: "reproduced"}], {A: "above"}, True),
        ([{A: "reproduced"}, {A: "inconclusive"}], {A: "below"}, True),
        ([{A: "reproduced"}, {}], {A: "below"}, True),
        ([{A: "reproduced"}], {A: "inconclusive"}, False),
        ([{A: "reproduced"}], {A: "not comparable"}, False),
        ([{A: "reproduced"}, {A: "below"}, {A: "inconclusive"}], {A: "below"}, False),
        ([{A: "inconclusive"}], {A: "below"}, False),
        ([{}], {A: "below"}, False),
    ],
)
def test_only_what_was_reproduced_when_last_decided_can_fail(history, now, fails):
    (change,) = verdict_changes([night(verdicts) for verdicts in history], now)
    assert change.fails == fails


def test_on_the_first_night_nothing_has_turned():
    assert verdict_changes([], {A: "below", B: "reproduced"}) == ()
    stopped = night({}, cells=())
    assert verdict_changes([stopped], {A: "below", B: "reproduced"}) == ()


def test_every_change_is_told_and_what_stands_is_not():
    earlier = [night({A: "reproduced", B: "below"})]
    assert verdict_changes(earlier, {A: "reproduced", B: "below"}) == ()
    (change,) = verdict_changes(earlier, {A: "reproduced"})
    assert (change.before, change.after, change.sentence) == (
        "below", None, "dtql/b/last: not reproduced, below -> not compared")  # fmt: skip
    # A night that stopped at the exact layers says nothing about the papers.
    stopped = night({}, cells=())
    assert verdict_changes([*earlier, stopped], {A: "reproduced", B: "below"}) == ()


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """Twenty nights of eight cells, as a store gives them back: the first cell falls from the eleventh on."""
    with open_store(tmp_path_factory.mktemp("nights") / "bench.sqlite") as store:
        with Writer(store) as writer:
            write_nights(writer, 20)
        return nights(store)


def test_the_page_has_a_line_for_each_cell_with_a_point_for_each_night(twenty):
    page = nights_page(twenty, {})
    rows = page.split('<tr><th scope="row">')[2:]
    assert [row.partition("<")[0] for row in rows] == [cell.name for cell in twenty[-1].cells]
    assert len(rows) == 8
    for row in rows:
        assert len(re.findall(r"<g><title>2026-11-", row)) == 20
        assert row.count('class="band"') == 1
    reds = sum(night.outcome == "red" for night in twenty)
    assert 0 < reds < 20
    assert f"20 nights: {20 - reds} green, {reds} red; the last of 2026" in page
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|None|nan", page)


def test_nights_that_alarmed_and_verdicts_that_turned_are_marked(twenty):
    page = nights_page(twenty, {})
    first = page.split('<tr><th scope="row">')[2]
    fallen = [night for night in twenty if night.cells[0].status == "below"]
    assert fallen
    assert first.count('class="confirmed"') == len(fallen)
    assert first.count('class="turned"') == 1
    turned = "2026-11-15: dtql/halfcheetah-medium-v2/last: reproduced -&gt; not reproduced, below"
    assert turned in first
    assert '<li class="red">2026\u201111\u201115: dtql/halfcheetah-medium-v2/last' in page


def test_a_night_without_a_score_and_one_that_fresh_seeds_did_not_confirm_look_different(twenty):
    cells = twenty[0].cells
    lost = replace(cells[0], mean=None, status="missing", p_below=None)
    spared = replace(cells[1], status="below", confirmed=False)
    page = nights_page([replace(twenty[0], cells=(lost, spared, *cells[2:])), *twenty[1:]], {})
    first, second = page.split('<tr><th scope="row">')[2:4]
    assert first.count('class="lost"') == 1
    assert "no score, missing" in first
    assert second.count('class="alarmed"') == 1
    assert "below, then not confirmed by fresh seeds" in second


def test_another_baseline_is_another_band_and_one_without_an_interval_none(twenty):
    def with_baseline(mean, alarm, place):
        cell = replace(twenty[place].cells[0], baseline_mean=mean, alarm_below=alarm)
        return replace(twenty[place], cells=(cell,))

    held = [with_baseline(50.0, 45.0, 0), with_baseline(50.0, 45.0, 1), with_baseline(60.0, 55.0, 2)]
    held.append(with_baseline(None, None, 3))
    assert nights_page(held, {}).count('class="band"') == 2


def test_a_single_night_and_very_many_are_shown(twenty):
    assert "1 night: 1 green, 0 red" in nights_page(twenty[:1], {})
    many = [replace(twenty[0], date=FIRST_NIGHT + timedelta(days=day)) for day in range(MOST + 5)]
    page = nights_page(many, {})
    assert f"{MOST} nights: " in page
    assert "5 earlier nights left out." in page


def test_nights_are_linked_where_they_have_a_page(twenty, tmp_path):
    own = tmp_path / "nights" / "2026-11-03" / "report.html"
    own.parent.mkdir(parents=True)
    own.write_text("a night")
    links = links_from(tmp_path / "nights" / "index.html", tmp_path, twenty)
    assert links == {twenty[2].date: "2026-11-03/report.html"}
    assert links_from(tmp_path / "out" / "nights.html", tmp_path, twenty) == {
        twenty[2].date: "../nights/2026-11-03/report.html"
    }
    page = nights_page(twenty, links, "../report.html")
    assert page.count('href="2026-11-03/report.html"') == 1 + 8 + 1
    assert 'href="../report.html"' in page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (make system-deps)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_all_text_stands_out(twenty, tmp_path, scheme):
    path = tmp_path / "index.html"
    path.write_text(nights_page(twenty, {}), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for width in (400, 1400):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            requests = []
            page.on("request", lambda request, seen=requests: seen.append(request.url))
            page.goto(path.as_uri())
            needed, available = page.evaluate(OVERFLOW)
            assert needed <= available == width
            assert page.evaluate(LOW_CONTRAST) == []
            assert all(url.startswith(("file:", "data:")) for url in requests)
        browser.close()
