"""Reproduces the D4RL tables of four diffusion-policy papers, and says how far to believe each number.

What stands in `__all__` is the Python interface (docs/python.md); it is imported when it is first asked for,
so that `import bench` waits for no library.
"""

from typing import TYPE_CHECKING, Any

from bench.version import __version__

if TYPE_CHECKING:
    from bench.api import BenchError, Policy, load_policy, paper_tables, scores, verdicts

__all__ = ["BenchError", "Policy", "__version__", "load_policy", "paper_tables", "scores", "verdicts"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the interface holds)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
