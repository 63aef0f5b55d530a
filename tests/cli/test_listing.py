"""`bench list` and `bench show`, as typed."""

import pytest

from bench.cli import output


def rows(out):
    """Lines below the heading, split at runs of two spaces."""
    return [[cell.strip() for cell in line.split("  ") if cell] for line in out.splitlines()[1:]]


def test_tasks_are_one_line_each(bench):
    code, out, _ = bench("list", "tasks")
    assert code == 0
    listed = {row[0]: row[1:] for row in rows(out) if len(row) == 6 and row[0] != "task"}
    assert len(listed) == 60
    assert out.startswith("d4rl-locomotion: ")
    assert listed["hopper-medium-expert-v2"] == ["11/3", "1000", "1,999,906", "D4RL", "1e-14 in 300 steps"]
    assert listed["antmaze-umaze-v0"] == ["29/8", "700", "1,000,000", "D4RL", "1e-13 in 360 steps"]


def test_tasks_of_one_suite(bench):
    _, out, _ = bench("list", "tasks", "--suite", "d4rl-kitchen")
    assert [row[0] for row in rows(out)] == ["kitchen-complete-v0", "kitchen-partial-v0", "kitchen-mixed-v0"]


def test_suites_tables_and_algorithms(bench):
    assert [row[:2] for row in rows(bench("list", "suites")[1])][-1] == ["demo-scores", "1"]
    listed = {row[0]: row[1:] for row in rows(bench("list", "tables")[1])}
    assert listed["dtql-2"][0] == "DTQL, Table 2"
    assert listed["dtql-2"][-1] == "16"
    assert list(listed)[-2:] == ["combined", "bandit2d"]
    algorithms = rows(bench("list", "algorithms")[1])
    listed = {row[0]: row[1:] for row in algorithms}
    assert listed["dtql"][:2] == ["Diffusion Trusted Q-Learning", "released, paper"]
    assert listed["edp"][0] == "edp-td3 on locomotion and bandit, edp-iql elsewhere"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "tasks", "--suite", "quickstrat"), "Did you mean quickstart?"),
        (("show", "dtpl", "hopper-medium-v2"), "Did you mean dtql"),
        (("show", "dtql", "hoper-medium-v2"), "Did you mean hopper-medium-v2"),
        (("show", "dtql", "pen-human-v0"), "Use pen-human-v1."),
        (("list", "nothing"), "No such command"),
    ],
)
def test_a_wrong_request_is_answered_with_what_to_type(bench, arguments, told):
    code, out, err = bench(*arguments)
    assert code == 2
    assert told in err
    assert out == ""
    assert "Traceback" not in err


def test_show_puts_variants_side_by_side_with_unit_and_source(bench):
    _, out, _ = bench("show", "dtql", "antmaze-large-play-v2")
    shown = {row[0]: row[1:] for row in rows(out) if len(row) > 3}
    assert shown["train_iterations"][:2] == ["350,000", "500,000"]
    assert shown["train_iterations"][2] == "≠"
    assert "released main.py" in shown["train_iterations"][3]
    assert "DTQL Tables 4 and 7" in shown["train_iterations"][3]
    assert shown["critic_layer_norm"][:3] == ["yes", "no", "≠"]
    assert shown["batch_size"] == ["2,048", "2,048", "transitions [released main.py; not in the paper]"]
    assert shown["reward_transform"][0] == "minus_one"
    assert shown["evaluation episodes"][:2] == ["100", "100"]
    assert shown["protocol"][0] == "last"


def test_show_of_a_collected_task_names_the_twin(bench):
    _, out, _ = bench("show", "dtql", "collected-hopper-medium")
    assert "the preset is that of hopper-medium-v2" in out


def test_show_lists_every_field_of_the_configuration(bench):
    import dataclasses

    from algorithms.dtql import DTQLConfig

    _, out, _ = bench("show", "dtql", "hopper-medium-v2")
    for field in dataclasses.fields(DTQLConfig):
        assert f"\n{field.name} " in out


def test_square_brackets_survive_on_a_terminal_of_80_columns(monkeypatch, capsys):
    made = output.Console

    def narrow(**options):
        return made(force_terminal=True, width=80, color_system=None, **options)

    monkeypatch.setattr(output, "Console", narrow)
    long = "unit; meaning " * 10
    output.print_table(
        ("name [x]", "number", "what"), [("a" * 30, "1,000,000", long + "\n[bold]")], right=("number",)
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "name [x]" in lines[0]
    assert any("a" * 30 + "  1,000,000  unit" in line for line in lines)
    assert any("[bold]" in line for line in lines)


def test_pipes_get_one_line_per_row(capsys):
    output.print_table(("name", "number"), [("a", "1\n2"), ("bb", "1,000")], right=("number",))
    assert capsys.readouterr().out == "name  number\na        1 2\nbb     1,000\n"


@pytest.mark.parametrize(
    ("task", "title"),
    [("hopper-medium-v2", "EDP with TD3"), ("antmaze-umaze-v0", "EDP with IQL")],
)
def test_show_says_which_method_edp_means(bench, task, title):
    code, out, _ = bench("show", "edp", task)
    assert code == 0
    assert out.startswith("edp means edp-td3 on locomotion and bandit, edp-iql elsewhere: ")
    assert f"{title} on {task}" in out


def test_show_says_where_a_method_comes_from(bench):
    _, out, _ = bench("show", "cql", "hopper-medium-v2")
    _, paper, *code = out.splitlines()[:4]
    assert paper.startswith("Paper: Conservative Q-Learning for Offline Reinforcement Learning (Kumar, ")
    assert paper.endswith("arXiv 2006.04779).")
    assert [line.partition(",")[0] for line in code] == ["Code: corl-team/CORL", "Code: aviralkumar2907/CQL"]


@pytest.mark.parametrize("algorithm", ["bdpo", "srpo", "edp", "dtql-kl"])
def test_show_marks_rows_where_the_variants_differ_and_no_others(bench, algorithm):
    _, out, _ = bench("show", algorithm, "hopper-medium-v2")
    table = [row for row in rows(out) if len(row) >= 4 and row[0] != "name"]
    marked = [row[0] for row in table if row[3] == "≠"]
    assert marked == [row[0] for row in table if row[1] != row[2]]
    assert out.endswith(f"the variants differ: {', '.join(marked)}.\n")


def test_show_at_80_columns_loses_nothing(bench, monkeypatch):
    made = output.Console
    _, piped, _ = bench("show", "bdpo", "hopper-medium-v2")
    monkeypatch.setattr(
        output,
        "Console",
        lambda **options: made(force_terminal=True, width=80, color_system=None, **options),
    )
    _, folded, _ = bench("show", "bdpo", "hopper-medium-v2")
    # What surrounds the table is folded on terminals alone.
    assert max(len(line) for line in folded[folded.index("\nname ") :].splitlines()[:-2]) <= 80
    table = piped[piped.index("\nname ") :].splitlines()[2:-2]
    assert len(table) > 20
    assert {line.split()[0] for line in table} <= set(folded.split())


def test_a_robot_says_how_its_simulator_was_proven(bench):
    """The figures of MuJoCo as it comes are those of the fixtures' own source."""
    _, out, _ = bench("show", "dtql", "antmaze-large-play-v0")
    assert "Held against 360 steps of the MuJoCo 2.1.0" in out
    assert "the simulator is off by 1e-13 at most, today's MuJoCo as it comes by 0.62" in out
    _, out, _ = bench("list", "tasks", "--suite", "d4rl-adroit")
    assert out.count("1e-09 in 300 steps") == 4
    _, out, _ = bench("list", "tasks", "--suite", "bandit2d")
    assert out.count("a formula") == 12
