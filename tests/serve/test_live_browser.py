"""The live page in a real browser: it fits, tells who works, and loads itself anew by itself."""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.serve.serving import planned_store, serving
from tests.store import samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (make system-deps)"),
]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def store(tmp_path):
    return planned_store(tmp_path / "bench.sqlite")


@pytest.fixture
def address(store):
    with serving(store) as (address, _):
        yield address


@pytest.mark.parametrize("width", [400, 1400])
def test_it_follows_the_store_without_a_touch(address, store, width):
    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        strip = page.locator("#live-text")
        expect(strip).to_contain_text("live; nothing runs")
        assert page.evaluate(OVERFLOW) == 0
        trial = samples.trial_record(0)
        with open_store(store) as opened, Writer(opened) as writer:
            writer.begin_run(samples.run_record("run-2"))
            writer.claim(trial.key.cell, [0], 1)
            writer.begin_execution([trial.key], samples.execution_record((0,)))
            expect(strip).to_contain_text("seed 0: starting", timeout=30_000)
            writer.record(samples.failure_record(trial.key))
            message = samples.failure_record(trial.key).message
            expect(page.locator("#failures")).to_contain_text(message, timeout=60_000)
        assert page.evaluate(OVERFLOW) == 0
        browser.close()
    assert said == []
