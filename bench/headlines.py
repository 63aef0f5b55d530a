"""Names that stand for one method or another by domain, as papers do in their headline results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.catalog import Domain, Task
from bench.preset_files import algorithms_with_presets


@dataclass(frozen=True)
class Headline:
    """A paper's name for whichever of its methods it puts forward in a domain."""

    name: str
    methods: Mapping[Domain, str]
    elsewhere: str
    """The method in every other domain."""
    reason: str

    @property
    def meaning(self) -> str:
        """`edp-td3 on locomotion and bandit, edp-iql elsewhere`."""
        domains: dict[str, list[str]] = {}
        for domain, method in self.methods.items():
            domains.setdefault(method, []).append(domain)
        parts = [f"{method} on {' and '.join(where)}" for method, where in domains.items()]
        return f"{', '.join(parts)}, {self.elsewhere} elsewhere"

    def __str__(self) -> str:
        return f"{self.name} means {self.meaning}: {self.reason}."


HEADLINES: Mapping[str, Headline] = {
    "edp": Headline(
        "edp",
        {"locomotion": "edp-td3", "bandit": "edp-td3"},
        elsewhere="edp-iql",
        reason="as in the paper's headline results",
    )
}


def method_on(name: str, domain: Domain) -> str:
    """The method that `name` means in a domain; its own name unless it is a headline."""
    headline = HEADLINES.get(name)
    return headline.methods.get(domain, headline.elsewhere) if headline else name


def methods_on(names: Iterable[str], task: Task) -> tuple[str, ...]:
    """The methods that `names` mean on a task, each once."""
    return tuple(dict.fromkeys(method_on(name, task.domain) for name in names))


def method_names() -> tuple[str, ...]:
    """Every name that a method may be asked for by, sorted."""
    return tuple(sorted({*algorithms_with_presets(), *HEADLINES}))


def explanations(names: Iterable[str]) -> list[str]:
    """One line for each of `names` that is a headline."""
    return [str(HEADLINES[name]) for name in names if name in HEADLINES]
