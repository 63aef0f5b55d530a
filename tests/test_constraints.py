"""constraints.txt pins, within pyproject.toml's bounds, all that an installation for the tests brings."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = [
    line
    for line in (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINNED = {canonicalize_name(Requirement(line).name): Requirement(line).specifier for line in LINES}
BESIDE = {"minari"}
"""Extras that no test needs: Minari downloads its sets, and nothing here imports it."""
GROUPS = [
    PROJECT["dependencies"],
    *(group for extra, group in PROJECT["optional-dependencies"].items() if extra not in BESIDE),
]
DIRECT = [
    requirement
    for requirement in map(Requirement, (text for group in GROUPS for text in group))
    if requirement.name != PROJECT["name"]
]
RANGE = "torch"
"""PyTorch is left as its range: its versions carry the kind of GPU that they are built for."""


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_is_pinned_within_its_bounds(requirement):
    pinned = PINNED[canonicalize_name(requirement.name)]
    if requirement.name == RANGE:
        assert pinned == requirement.specifier
        return
    (version,) = (one.version for one in pinned)
    assert version in requirement.specifier


def test_all_that_comes_along_is_pinned_too():
    """Followed from the direct dependencies through what is installed here."""
    left, seen = list(DIRECT), set()
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        if name.startswith(("nvidia-", "cuda-", "triton")):  # what PyTorch brings for one kind of GPU
            continue
        assert name in PINNED
        for needed in map(Requirement, distribution(name).requires or ()):
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                left.append(needed)


def test_every_line_is_one_version_and_nothing_else():
    for line in LINES:
        if not line.startswith(RANGE):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    assert len(PINNED) == len(LINES)
    assert not [name for name in PINNED if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("mujoco", ["3.1.6", "3.3.7"], ["3.1.5", "3.4.0", "3.5.0"]),
        ("torch", ["2.11.0", "2.13.0"], ["2.10.0", "2.14.0"]),
        ("gymnasium", ["1.2.0", "1.4.0"], ["1.1.1", "2.0.0"]),
        ("ray", ["2.60.0"], ["2.40.0", "2.59.0", "3.0.0"]),
    ],
)
def test_versions_that_would_change_numbers_or_open_a_run_are_refused(name, allowed, refused):
    (bounds,) = {one.specifier for one in DIRECT if one.name == name}
    assert [version for version in allowed + refused if version in SpecifierSet(str(bounds))] == allowed
