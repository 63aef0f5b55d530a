from bench.training.contract import check_method


def test_toy():
    check_method("toy")
