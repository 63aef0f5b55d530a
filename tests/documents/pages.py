"""The documents, and what tests take from them: links, headings, fenced blocks, commands and their output."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = tuple(
    sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("paper_tables/*.md")))
)
"""All of them, README and pages alike."""


@dataclass(frozen=True)
class Shown:
    """A command as a page has it, and what the page says that it prints."""

    typed: list[str]
    lines: list[str]


def text_of(name: str) -> str:
    """A document by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[str]:
    """Contents of the fenced blocks that are marked so, `console ray` for one."""
    fenced = re.findall(r"^```([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [content for language, content in fenced if language in languages]


def console(page: str, language: str = "console") -> list[Shown]:
    """Every `$ bench ...` of the page's blocks, in order; lines that end in a backslash go on."""
    joined = "".join(blocks(page, language)).replace("\\\n", " ")
    parts = [part.splitlines() for part in joined.split("$ bench ")[1:]]
    return [Shown(shlex.split(command, comments=True), lines) for command, *lines in parts]


def commands(page: str) -> list[list[str]]:
    """What follows `bench` in every command of the page's blocks, as a shell splits it."""
    shells = "".join(blocks(page, "", "bash", "console", "console ray")).replace("\\\n", " ")
    lines = re.findall(r'^(?:[^#\n"]* )?bench ((?:"[^"]*"|[^"\n])*)', shells, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def numbers_aside(line: str) -> str:
    """A line without its numbers and the width of its gaps."""
    return " ".join(re.sub(r"\d[\d.,:]*", "#", line).split())


def missing_lines(shown: Shown, told: str, alike: Callable[[str], str] = numbers_aside) -> list[str]:
    """Lines that the page shows below a command and the command did not print; `...` stands for any."""
    printed = [alike(line) for line in told.splitlines()]
    return [line for line in shown.lines if line.strip() not in ("", "...") and alike(line) not in printed]


def links(page: str) -> list[str]:
    """Where the page's links lead, outside code."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(page: str) -> set[str]:
    """What a link may name after `#`: the page's headings, as they are turned into addresses."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
