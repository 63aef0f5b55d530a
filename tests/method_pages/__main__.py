"""Write the pages: `python -m tests.method_pages docs/methods`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.presets import PresetFiles
from tests.method_pages.pages import pages


def write(folder: Path) -> None:
    """Write all pages into a folder; pages of methods that are no more go."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages(PresetFiles())
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
