"""`bench` and `python -m bench`: what is done before anything else is imported."""

import os
import sys

NO_WINDOWS = (
    "bench: Windows is not supported, as file locks and signals of Unix keep runs safe; inside WSL (Windows "
    "Subsystem for Linux) it works as on Linux."
)


def main() -> None:
    """Run the command that was typed, and exit."""
    if sys.platform == "win32":
        print(NO_WINDOWS, file=sys.stderr)
        sys.exit(2)
    # Not at the top: it takes signals that Windows has not.
    from bench.signals import handled_signals

    with handled_signals():
        # Some libraries start a `python -c`, which would import from the folder one stands in.
        os.environ["PYTHONSAFEPATH"] = "1"
        from bench.cli import main as run_command

        run_command()


if __name__ == "__main__":
    main()
