"""The code does what it did when the golden records were made, but for what `intended.yaml` names."""

import pytest

from tests.golden.checkout import HERE
from tests.golden.compare import compared
from tests.golden.sections import CHEAP, SECTIONS, taken

QUICK = [section.__name__ for section in CHEAP]


@pytest.mark.parametrize(
    "section",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SECTIONS],
)
def test_all_is_as_recorded(section):
    result = compared(section, taken(section, HERE))
    assert not result.failed, "\n".join([result.headline, *result.lines(200)])
