"""`bench list`: what there is."""

from __future__ import annotations

import typer

app = typer.Typer(help="List algorithms, tasks, suites or tables.", no_args_is_help=True)


@app.command()
def algorithms() -> None:
    """List the methods that can be trained."""
    typer.echo("dtql")
