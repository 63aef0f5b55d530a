"""The page follows what is stored, only while somebody looks, and survives passing trouble."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from bench.errors import BenchError
from bench.serve import live
from bench.serve.live import LivePage


class Source:
    def __init__(self):
        self.number, self.renders, self.error = 0, 0, None

    def change_token(self):
        if self.error:
            raise self.error
        return str(self.number)

    def render(self):
        self.renders += 1
        return f"<body>{self.number}</body>"


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def page(source):
    return LivePage(source.change_token, source.render, lambda version: "", pause_seconds=0.01)


@pytest.fixture
def kept(page):
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(page.keep_fresh, stop)
        yield future
        stop.set()


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_change_makes_another_version(source, page, kept):
    first = page.page()
    source.number = 1
    wait_for(lambda: page.page().body == b"<body>1</body>")
    assert page.page().version != first.version


def test_without_a_change_nothing_is_made_anew(source, page, kept):
    time.sleep(0.2)
    assert source.renders == 1


def test_nobody_looks_nothing_is_made(source, page, kept, monkeypatch):
    monkeypatch.setattr(live, "WATCHED_SECONDS", 0.0)
    source.number = 1
    time.sleep(0.2)
    assert source.renders == 1
    monkeypatch.setattr(live, "WATCHED_SECONDS", 60.0)
    page.page()
    wait_for(lambda: source.renders == 2)


def test_trouble_with_the_store_is_told_and_passes(source, page, kept):
    source.error = BenchError("store x is held by another process")
    wait_for(lambda: page.trouble() == "store x is held by another process")
    assert page.page().body == b"<body>0</body>"
    source.error, source.number = None, 2
    wait_for(lambda: page.trouble() == "" and page.page().body == b"<body>2</body>")


def test_any_other_error_is_not_swallowed(source, page, kept):
    source.error = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        kept.result(timeout=20)
