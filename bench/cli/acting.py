"""What may be typed after `bench export-policy` and `bench video`: parameters, bounds and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FORM, MOST_THREADS, WHAT, WHERE, StoreOption, TrialArgument, between
from bench.files import typed_path
from bench.store.location import DEFAULT_STORE

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a file that is there.", rich_help_panel=FORM)
]
MOST_PIXELS = 4096
"""Of a side; MuJoCo's picture of it takes hundreds of megabytes."""


def export_policy(
    trial: TrialArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.pt",
            parser=typed_path,
            help="Where to. Default: trial-TRIAL.pt here.",
            rich_help_panel=FORM,
        ),
    ] = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the actor of a finished trial as TorchScript, which torch loads without bench, in C++ too.

    For methods that act by one pass through a network. Standardisation of observations is inside; task,
    sizes, bounds and the hash of the weights stand in the file.
    """
    from bench.cli import policies as work

    work.export_policy(trial, out, store, force=force)


def video(
    trial: TrialArgument,
    episode: Annotated[
        int,
        typer.Option(
            metavar="N", callback=between(1, 100_000), help="Episode of the evaluation.", rich_help_panel=WHAT
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            parser=typed_path,
            help="Where to, .mp4 or .gif. Default: trial-TRIAL.mp4 here.",
            rich_help_panel=FORM,
        ),
    ] = None,
    width: Annotated[
        int,
        typer.Option(
            metavar="PIXELS",
            callback=between(64, MOST_PIXELS),
            help="The height is three quarters of it.",
            rich_help_panel=FORM,
        ),
    ] = 480,
    force: ForceOption = False,
    threads: Annotated[
        int,
        typer.Option(
            metavar="N", callback=between(1, MOST_THREADS), help="CPU threads.", rich_help_panel=WHERE
        ),
    ] = 1,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Film an episode of a finished trial's last evaluation, drawn without a screen.

    Its weights play that evaluation once more, in the physics of its score.
    """
    from bench.cli import policies as work

    work.video(trial, episode, out, width, threads, store, force=force)
