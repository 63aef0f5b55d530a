"""A store with one planned trial, and a `bench serve` of it in a process of its own."""

import contextlib
import re
import subprocess
import sys

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples


def planned_store(path):
    """Make the store; return its path."""
    with open_store(path) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record("run-1"))
        writer.plan([samples.trial_record(0)])
    return path


@contextlib.contextmanager
def serving(store):
    """(address, process) of a server on a free port.

    Started as a shell starts what runs in the background: SIGINT is ignored from the beginning.
    """
    command = [sys.executable, "-m", "bench", "serve", "--port", "0", "--store", str(store)]
    in_background = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    process = subprocess.Popen(in_background, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(found[0] for line in process.stdout if (found := re.findall(r"http://\S+/", line)))
        yield address, process
    finally:
        process.kill()
        process.communicate()
