"""What the tests of the commands share."""

import pytest

from bench.cli import main


@pytest.fixture
def bench(capsys):
    """Runs a command line and returns (exit code, output, errors)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return (stopped.value.code, *capsys.readouterr())

    return run
