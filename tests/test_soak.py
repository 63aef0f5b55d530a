"""The soak test: ten minutes of kills, then every trial once and bit-equal (`python -m tests.soak`)."""

import time

import pytest

from tests.soak import soak


@pytest.mark.slow
def test_ten_minutes_of_kills_lose_and_change_nothing(tmp_path):
    soak(tmp_path, minutes=10, seed=int(time.time()))
