"""The page: one file, everything escaped, every note reachable."""

import re
from html.parser import HTMLParser

from bench.report.measured import ReportData
from bench.report.renderers.html import render
from tests.report.builders import AWKWARD, WHEN, check_golden, toy_data, toy_measured, toy_table


class _Page(HTMLParser):
    """Collects tags, ids, links and text; fails on tags that do not close in order."""

    VOID = frozenset(("meta", "link", "br", "use"))

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.sources, self.text = [], [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _page(data=None):
    return render([toy_table()], data if data is not None else toy_data(), WHEN)


def test_golden_without_figures():
    data = toy_data()
    data = ReportData(data.measured, (), {}, (), data.runs, data.failures)
    check_golden("report.html", _page(data))


def test_nothing_comes_from_elsewhere_and_nothing_runs():
    page = _Page(_page())
    assert "script" not in page.tags
    assert page.sources == []
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    assert "@import" not in _page()
    assert not re.search(r"url\((?!#)", _page())


def test_names_are_shown_and_never_read_as_html():
    text = "".join(_Page(_page()).text)
    assert AWKWARD in text
    assert "bench run --tasks 'a<b>'" in text
    assert "Traceback <b>here</b>" in text


def test_links_lead_to_notes_and_ids_are_unique():
    page = _Page(_page())
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_headline_counts_trials():
    text = " ".join(" ".join(_Page(_page()).text).split())
    assert "Trials 7 Finished 7 Failed 0" in text
    assert "1 of 2 cells measured, 1 comparable" in text


def test_an_empty_store_says_what_to_type():
    text = render([toy_table()], ReportData(), WHEN)
    assert "bench run --suite quickstart" in text


def test_no_nan_is_shown():
    from dataclasses import replace

    from bench.report.measured import SeedScore

    broken = replace(toy_measured()[0], trials=(SeedScore(1, 0, "finished", float("nan")),))
    text = render([toy_table(broken)], ReportData(measured=(broken,)), WHEN)
    assert ">nan" not in text.lower()
