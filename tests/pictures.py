"""The documents' pictures: `python -m tests.pictures --out docs/images`.

The page as Chromium shows it and a table as pdflatex sets it, of made-up scores with known truth. Both come
from `bench report` alone.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib import image
from playwright.sync_api import sync_playwright

from bench.catalog import load_catalog
from tests.report.made_up import made_up_study
from tests.report.synthetic import write_store

PROGRAMS = ("chromium", "pdflatex", "pdftoppm")
DOTS_PER_INCH = 140


def main() -> None:
    """Make the pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--table", default="dtql-1")
    options.add_argument("--out", type=Path, default=Path("docs/images"))
    chosen = options.parse_args()
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (make system-deps)")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        made_up = str(make_up_store(Path(folder) / "made-up.sqlite"))
        picture_page(_reported(made_up, "html", Path(folder)) / "report.html", chosen.out / "verdicts.png")
        shown = _reported(made_up, "latex", Path(folder), "--tables", chosen.table)
        picture_table(shown, chosen.out / "table.png")


def make_up_store(path: Path) -> Path:
    """A grid of the papers' main tables that reproduces them but for three planted deviations."""
    catalog = load_catalog()
    return write_store(path, made_up_study(catalog, ("d4rl-locomotion",)), catalog)


def _reported(store: str, format_: str, folder: Path, *more: str) -> Path:
    command = [
        sys.executable,
        "-m",
        "bench",
        "report",
        "--store",
        store,
        "--format",
        format_,
        "--out",
        str(folder),
    ]
    subprocess.run([*command, *more], check=True)
    return folder


def picture_page(page: Path, picture: Path) -> None:
    """The beginning of the page, as wide as a laptop's screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        shown = browser.new_page(viewport={"width": 1400, "height": 1000})
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=str(picture))
        browser.close()


def picture_table(folder: Path, picture: Path) -> None:
    """The first page of what `bench report --format latex` writes, cut to what is printed on it."""
    subprocess.run(
        ["pdflatex", "-interaction=batchmode", "-halt-on-error", "report.tex"], cwd=folder, check=True
    )
    resolution = ["-r", str(DOTS_PER_INCH)]
    stem = folder / "table"
    subprocess.run(
        ["pdftoppm", "-png", "-singlefile", *resolution, "report.pdf", str(stem)], cwd=folder, check=True
    )
    _trimmed(stem.with_suffix(".png"), picture)


def _trimmed(source: Path, target: Path, edge: int = 20) -> None:
    """Without margins and page number: from the first printed line to the first wide gap."""
    pixels = image.imread(source)[..., :3]
    inked = pixels.min(axis=2) < 0.99
    rows, columns = np.nonzero(inked.any(axis=1))[0], np.nonzero(inked.any(axis=0))[0]
    gaps = np.nonzero(np.diff(rows) > DOTS_PER_INCH)[0]
    bottom = rows[gaps[0]] if len(gaps) else rows[-1]
    top, left = max(rows[0] - edge, 0), max(columns[0] - edge, 0)
    image.imsave(target, pixels[top : bottom + edge, left : columns[-1] + edge])


if __name__ == "__main__":
    main()
