"""What imports what, read from the source: the arrows of docs/architecture.md and the rules that hold them.

`python -m tests.architecture docs/images/architecture.svg` draws the packages and their arrows.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bench", "algorithms")
OURS = (*PACKAGES, "benchmarks", "tests")

FLOORS = (
    ("algorithms", "ground", ""),
    ("catalog", "", "presets"),
    ("", "store", ""),
    ("envs", "data", "training"),
    ("evaluation", "bandit2d"),
    ("execute", "report"),
    ("serve", "nightly"),
    ("api", "cli"),
)
"""The packages from the bottom up. A package imports from those that stand before it, within its floor too;
*ground* is every module right under `bench` that is not named here. `bench/__main__.py` stands above all, and
`bench` itself, which hands out what `api` holds, counts as that.
An empty name leaves room in the picture."""
ORDER = (*(name for floor in FLOORS for name in floor if name), "__main__")


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the product: dotted name -> file."""
    found = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """The modules of the product that each module names in its imports, wherever they stand in the file.

    Imports within functions and under TYPE_CHECKING count as well: they are what hides a circle.
    """
    files = modules(root)
    return {name: set(_imported(name, file, files)) - {name} for name, file in files.items()}


def _imported(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    yield inner
                elif node.module in known:
                    yield node.module
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{name} has a relative import, line {node.lineno}; write the whole name")


def private_reads(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every private name of another module of ours that a module reads or replaces."""
    tree = ast.parse(source)
    ours = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
            ours.update(alias.asname or alias.name for alias in node.names)
            yield from ((node.lineno, alias.name) for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.Import):
            roots = {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
            ours.update(name for name, module in roots.items() if module.partition(".")[0] in OURS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and _root(node) in ours:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and len(node.args) > 1 and _root(node.args[0]) in ours:
            # As in monkeypatch.setattr(module, "_name", ...).
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and _is_private(name.value):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As in monkeypatch.setattr("bench.module._name", ...).
            first, *rest = node.value.split(".")
            if first in OURS and all(map(str.isidentifier, rest)) and any(map(_is_private, rest)):
                yield node.lineno, node.value


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes starts from."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def package_of(module: str) -> str:
    """The name in `FLOORS` that a module belongs to; `__main__` for the program itself."""
    parts = module.split(".")
    name = "api" if parts == ["bench"] else parts[0] if parts[0] == "algorithms" else parts[1]
    return name if name in ORDER else "ground"


def between_packages(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Which package imports which, from what the modules import."""
    packages: dict[str, set[str]] = {}
    for module, others in graph.items():
        name = package_of(module)
        packages.setdefault(name, set()).update({package_of(other) for other in others} - {name})
    return packages


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of two or more nodes that reach each other, by Tarjan's strongly connected components."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        path.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in path:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            group = [path.pop()]
            while group[-1] != node:
                group.append(path.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def upward(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Imports (from, to) of a module that stands in a package above: none, if the order of `FLOORS` holds."""
    return [
        (module, other)
        for module, others in sorted(graph.items())
        for other in sorted(others)
        if ORDER.index(package_of(module)) < ORDER.index(package_of(other))
    ]


def direct(packages: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way through other packages says already; `packages` has no circle."""

    def reached(name: str) -> set[str]:
        return packages[name].union(*(reached(other) for other in packages[name]))

    return {
        name: {other for other in others if not any(other in reached(between) for between in others)}
        for name, others in packages.items()
    }


WIDTH, ROW, BOX_HEIGHT = 960, 104, 68


def drawn(root: Path = ROOT) -> str:
    """The packages as boxes, floor over floor, with the direct arrows between them: an SVG picture."""
    packages = direct(between_packages(imports(root)))
    places = {}
    for number, floor in enumerate(reversed(FLOORS)):
        width = (WIDTH - 40) / len(floor) - 40
        for column, name in enumerate(floor):
            if name:
                places[name] = (40 + column * (width + 40), 16 + number * ROW, width)
    lines = []
    for name, others in sorted(packages.items()):
        lines += [_arrow(places[name], places[other]) for other in sorted(others) if name in places]
    lines += [_box(name, _purpose(name, root), *place) for name, place in places.items()]
    return _SVG.format(width=WIDTH, height=len(FLOORS) * ROW - 8, body="\n".join(lines))


def _purpose(name: str, root: Path) -> str:
    """What a package is for: the first sentence of its docstring."""
    if name == "ground":
        return ", ".join(
            sorted(m.split(".")[1] for m in modules(root) if m.count(".") == 1 and package_of(m) == name)
        )
    folder = root / name if name == "algorithms" else root / "bench" / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0].rstrip(".")


def _box(name: str, purpose: str, left: float, top: float, width: float) -> str:
    letters = int(width / 6.1)
    lines = textwrap.wrap(purpose, letters)[:3]
    text = "".join(f'<tspan x="{left + 12:.0f}" dy="15">{escape(line)}</tspan>' for line in lines)
    return (
        f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{left + 12:.0f}" y="{top + 18}">{name}</text>'
        f'<text x="{left + 12:.0f}" y="{top + 19}">{text}</text>'
    )


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    (left, top, width), (other_left, other_top, other_width) = start, end
    if top == other_top:
        x, y = left if left > other_left else left + width, top + BOX_HEIGHT / 2
        to = other_left + other_width + 4 if left > other_left else other_left - 4
        return f'<path d="M{x:.0f} {y:.0f} L{to:.0f} {y:.0f}" marker-end="url(#tip)"/>'
    lean = 0.35 * width if other_left > left + 1 else -0.35 * width if other_left < left - 1 else 0
    x, y = left + width / 2 + lean * 0.7, top + BOX_HEIGHT
    to_x, to_y = other_left + other_width / 2 - lean * 0.25 * other_width / width, other_top - 5
    bend = (to_y - y) / 2
    curve = f"C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
    return f'<path d="M{x:.0f} {y:.0f} {curve}" marker-end="url(#tip)"/>'


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
width="{width}" height="{height}"><title>The packages of bench, each above those that it imports</title>
<style>
svg {{ background: #fff }} text {{ font: 11px sans-serif; fill: #333 }} .name {{ font: bold 14px sans-serif }}
rect {{ fill: #f4f6f8; stroke: #5b6b7b }} path {{ fill: none; stroke: #5b6b7b; stroke-width: 1.3 }}
marker path {{ fill: #5b6b7b; stroke: none }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z"/></marker></defs>
{body}
</svg>
"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn(), encoding="utf-8")
