"""What a method says of itself in the head of its preset file: names, sources, formulas, phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Look(_Strict):
    """How figures draw a method."""

    colour: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]
    """Of a middle tone, so that it stands out on white and on black."""
    line: Literal["solid", "dashed", "dash-dotted", "short-dashed", "long-dashed", "twice-dotted"]
    marker: Literal["o", "s", "D", "d", "^", "v", "<", ">", "p", "h", "H", "*", "P", "X", "8"]
    """Matplotlib's code; these can be hollow."""


class Paper(_Strict):
    """What a method is described in."""

    title: str
    by: str = ""
    """Its authors."""
    published: str = ""
    """Where and when, and which part of it is meant: `NeurIPS 2023, App. A.2`."""
    arxiv: Annotated[str, Field(pattern=r"^(\d{4}\.\d{4,5})?$")] = ""
    """Number there; empty where there is none."""

    def __str__(self) -> str:
        arxiv = f"arXiv {self.arxiv}" if self.arxiv else ""
        said = ", ".join(text for text in (self.by, self.published, arxiv) if text)
        return f"{self.title} ({said})" if said else self.title


class Code(_Strict):
    """Code of the authors, or of others, that a method follows."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """`owner/name` at GitHub."""
    commit: Annotated[str, Field(pattern=r"^([0-9a-f]{7,40})?$")] = ""
    """The one that was read."""
    about: str = ""
    """Which files of it, or which variant follows it."""

    def __str__(self) -> str:
        said = [f"commit {self.commit}"] if self.commit else []
        return ", ".join((self.repository, *said, *filter(None, (self.about,))))


class Formula(_Strict):
    """A loss, a target, a weight, or how actions are chosen."""

    name: str
    formula: str = ""
    """LaTeX of one line; docs/methods/README.md explains the symbols."""
    source: str = ""
    """An equation of the paper, a file of the released code."""
    note: str = ""
    """What the symbols of its own are, in Markdown."""
    of: str = ""
    """The method whose formula of this name it is; that one is written there."""

    @model_validator(mode="after")
    def _in_one_place(self) -> Formula:
        if bool(self.of) == bool(self.formula and self.source):
            raise ValueError(f"{self.name} has either a formula with its source, or the method that it is of")
        if self.of and (self.formula or self.source or self.note):
            raise ValueError(f"{self.name} is of {self.of}, where all that is said of it stands")
        return self


class Declaration(_Strict):
    """What a method says of itself in the head of its preset file."""

    title: str
    """Its name in full."""
    paper: Paper | None = None
    code: tuple[Code, ...] = ()
    remarks: str = ""
    """What its variants are and what one must know of it, in Markdown."""
    formulas: tuple[Formula, ...] = ()
    """Every loss, target and weight, in their order, and how it acts."""
    label: str = ""
    """Its name in figures, as the papers print it; empty: as it is called here."""
    group: str = ""
    """The paper or family that it belongs to."""
    look: Look | None = None
    """None: one that follows from its name."""
    printed: tuple[str, ...] = ()
    """What papers call it in their tables, where that is more than its own name without its hyphens."""
    ablations: Mapping[str, Mapping[str, bool | int | float | str]] = {}
    """What papers call it with other hyper-parameters than the preset's, and with which."""
    combined: tuple[str, ...] = ()
    """Tables of its own paper whose numbers the table of all methods prints."""
    further: str | None = None
    """The paper's table below which its twins and further configurations stand; None: the table of all."""
    variants: tuple[str, ...] = ()
    """What it can do otherwise than the authors' code, such as `paper`: what the text says."""
    released_as: tuple[str, ...] = ()
    """Variants of other methods that are `released` here: `corl` of one that is implemented as in CORL."""
    configuration: str
    """Class of its hyper-parameters, which its module defines or imports."""
    step_counts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Hyper-parameters that a budget scales."""
    phases: Mapping[str, str]
    """Its stages, in order, each with the hyper-parameter that counts its iterations."""
    evaluated: str
    """The phase in which evaluations fall."""
    comparator: bool = False
    """Whether papers quote it beside their own methods."""

    @model_validator(mode="after")
    def _whole(self) -> Declaration:
        if self.evaluated not in self.phases:
            raise ValueError(f"evaluated names no phase: {self.evaluated}")
        for phase, count in self.phases.items():
            if count not in self.step_counts:
                raise ValueError(f"the iterations of phase {phase} are none of step_counts: {count}")
        return self
