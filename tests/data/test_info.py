import numpy as np

from bench.data.info import summarise
from tests.data.files import columns, hopper, write


def test_by_hand(tmp_path):
    content = columns(rows=25)
    content["rewards"][:] = np.repeat([1.0, 2.0, 100.0], [10, 10, 5])
    content["timeouts"][:] = False
    content["timeouts"][19] = True
    summary = summarise(write(tmp_path / "data.hdf5", content), hopper())

    # Rows 0-9 end in a terminal (return 10), 10-19 in a timeout (20); the five after them are not whole.
    assert (summary.rows, summary.transitions, summary.episodes) == (25, 23, 2)
    assert summary.layout == "rows in order"
    assert (summary.terminals, summary.timeouts) == (1, 1)
    assert (summary.mean_return, summary.return_deviation, summary.mean_length) == (15, 5, 10)
    assert (summary.lowest_return, summary.highest_return) == (10, 20)
    span = 3234.3 + 20.272305
    np.testing.assert_allclose(summary.mean_score, 100 * (15 + 20.272305) / span)
    np.testing.assert_allclose(summary.score_deviation, 100 * 5 / span)
    assert summary.physics is None
