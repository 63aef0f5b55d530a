"""`bench data` with 2D problems, as typed."""


def test_generated_files_are_made_checked_and_listed(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, out, _ = bench("data", "collect", "bandit-energy-moons", "--transitions", "400")
    assert code == 0
    assert "400 rows" in out
    code, out, _ = bench("data", "verify", "bandit-energy-moons")
    assert (code, out.splitlines()[0]) == (0, "bandit-energy-moons: content fits")
    listed = bench("data", "list", "bandit2d")[1]
    assert next(line for line in listed.splitlines() if "moons" in line).split()[-3:] == [
        "400",
        "content",
        "fits",
    ]
    assert "already at" in bench("data", "collect", "bandit-energy-moons")[1]
    assert bench("data", "collect", "bandit-energy-moons", "--overwrite", "--physics", "modern")[0] == 2
