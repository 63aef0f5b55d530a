"""Damaged, hostile and odd inputs, some twenty thousand of them, each read in a process of its own.

    python -m tests.fuzz                              every target; what `make fuzz` runs
    python -m tests.fuzz --only stores --inputs 500   one target
    python -m tests.fuzz --only hdf5:17 --show        one input, with all that it printed
    python -m tests.fuzz --code ../other-checkout     the same inputs against another checkout's code

A target is a module here with `make(number, place, random)`: it lays files into a place and returns the input
as a `Case`. The same seed and number give the same input. The first numbers of a target are its named inputs,
one each (every finding is kept as one of them); the others are drawn. `process.py` runs a case and says what
came of it, `outcomes.py` defines what is right.

It ends with a table and exit code 0, or 1 where an input met a traceback, a hang, a crash, was accepted
though wrong, was refused though right, changed a file that it must not, or was told about badly.
"""
