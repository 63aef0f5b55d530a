"""The page in a real browser: nothing is wider than the window."""

import re
import shutil
import subprocess

import pytest

from bench.report.layouts import LAYOUTS, build_table
from bench.report.renderers.html import render
from tests.report.builders import WHEN, toy_data, toy_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script>"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (make system-deps)")
@pytest.mark.parametrize("width", [500, 1200, 1400])
def test_the_page_never_scrolls_sideways(tmp_path, width):
    data = toy_data()
    text = render([toy_table(), *(build_table(name, data) for name in LAYOUTS)], data, WHEN)
    page = tmp_path / "report.html"
    page.write_text(text.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    needed, available = map(int, re.search(r"<title>(\d+) of (\d+)</title>", done.stdout).groups())
    assert needed <= available == width
