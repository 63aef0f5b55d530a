"""`bench` and `python -m bench`: what is done before anything else is imported."""

import os

from bench.signals import handled_signals


def main() -> None:
    """Run the command that was typed, and exit."""
    with handled_signals():
        # Some libraries start a `python -c`, which would import from the folder one stands in.
        os.environ["PYTHONSAFEPATH"] = "1"
        from bench.cli import main as run_command

        run_command()


if __name__ == "__main__":
    main()
