"""Processes below a driver (Linux)."""

from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue  # it has ended in the meantime
        for child in map(int, children):
            found += [child, *descendants(child)]
    return found


def workers(pid: int) -> list[int]:
    """Ray's worker processes that train a stack."""
    return titled(pid, "train")


def titled(pid: int, word: str) -> list[int]:
    """Ray's worker processes below `pid` whose titles hold a word."""
    titles = {}
    for child in descendants(pid):
        try:
            titles[child] = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    return [child for child, title in titles.items() if title.startswith("ray::") and word in title.lower()]
