"""Way points, actions and labels of AntMaze's generator, found by hand on the maps."""

import numpy as np
import pytest

from bench.data.behaviours import WayPoints, cell_of, next_cells
from bench.data.collect import relabelled
from bench.envs.antmaze import MAZES
from bench.envs.rules import States

# The umaze is 1 1 1 1 1, its ant starts at (0, 0) and goes along x, along y and back along -x to (0, 8):
#              1 R 0 0 1
#              1 1 1 0 1
#              1 G 0 0 1
#              1 1 1 1 1


class Recorder:
    """A policy that keeps what it is asked and always wants the same."""

    action_dim = 8

    def __init__(self, action=0.0):
        self.action = action

    def sample_with_log_probability(self, observations, noise):
        self.observations, self.noise = observations, noise
        count = len(observations)
        return np.full((count, 8), self.action, np.float32), np.arange(count, dtype=np.float32)


def states_at(positions, goals):
    """Ants whose other observations are 102, 103, ..."""
    observations = np.tile(np.arange(100.0, 129), (len(positions), 1))
    observations[:, :2] = positions
    empty = np.zeros((len(positions), 0))
    return States(empty, empty, empty, np.zeros(len(positions)), observations, {"goal": np.array(goals)})


def target(maze, position, goal, noise=(0.0, 0.0)):
    """x and y that a robot at `position` is sent to, from its direction and the coordinate that must fit."""
    policy = Recorder()
    numbers = np.zeros((1, 18), np.float32)
    numbers[0, :2] = noise
    behaviour = WayPoints(policy, MAZES[maze])
    behaviour.act(states_at([position], [goal]), numbers)
    return policy.observations[0, 27:]


def direction(start, end):
    heading = np.subtract(end, start)
    return 10 * heading / np.hypot(*heading)


GOAL = (0.7, 8.6)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((0.1, 0.1), (4.5, 0.5)),  # in the start cell: to the one beside it, half a metre off its centre
        ((-1.5, -0.7), (4.5, 0.5)),  # what lies below 0 counts as 0
        ((5, 0), (8.5, 0.5)),
        ((7, 1), (8.5, 0.5)),  # 4 to 8 m counts as the second cell, though the third is centred on 8
        ((9, 1), (8.5, 4.5)),
        ((9, 5), (8.5, 8.5)),
        ((9, 7.9), (8.5, 8.5)),
        ((9, 8.1), (4.5, 8.5)),
        ((5, 9), (0.5, 8.5)),
        ((1, 9), GOAL),  # in the goal's cell: to the goal itself
        ((1, 7), (0.5, 8.5)),  # seemingly in the wall below the goal
        ((90, -90), (8.5, 0.5)),  # far outside: by way of the nearest wall
    ],
)
def test_way_points_by_hand_in_the_umaze(position, expected):
    np.testing.assert_allclose(target("umaze", position, GOAL), direction(position, expected), rtol=1e-6)


def test_the_way_point_is_uniform_over_a_metre():
    # 0.9 and 0.2 are the normal distribution's values at 1.2816 and -0.8416.
    found = target("umaze", (0, 0), GOAL, noise=(1.2815516, -0.8416212))
    np.testing.assert_allclose(found, direction((0, 0), (4.9, 0.2)), rtol=1e-5)


def test_each_robot_has_its_own_way():
    """From the third row of the medium maze it is down to one goal and along the row to the other."""
    policy = Recorder()
    positions, goals = [(5, 9), (5, 9), (21, 21)], [(0.5, 16.5), (20.5, 20.5), (21, 22)]
    WayPoints(policy, MAZES["medium"]).act(states_at(positions, goals), np.zeros((3, 18), np.float32))
    expected = [direction((5, 9), (4.5, 12.5)), direction((5, 9), (8.5, 8.5)), (0, 10)]
    np.testing.assert_allclose(policy.observations[:, 27:], expected, atol=1e-5)


def test_cells_are_half_a_cell_off():
    positions = np.array([(0, 0), (3.99, 0), (4, 0), (-2, 7.99), (-2, 8), (33.5, 24.1)])
    assert cell_of(positions).tolist() == [[1, 1], [1, 1], [1, 2], [2, 1], [3, 1], [7, 9]]


def test_distances_in_the_medium_maze():
    """Steps to the goal at (6, 6), counted on the map; # is a wall."""
    counted = """
        ##  ##  ##  ##  ##  ##  ##  ##
        ##  10   9  ##  ##   8   9  ##
        ##   9   8  ##   6   7   8  ##
        ##  ##   7   6   5  ##  ##  ##
        ##   9   8  ##   4   3   2  ##
        ##  10  ##   6   5  ##   1  ##
        ##   9   8   7  ##   1   0  ##
        ##  ##  ##  ##  ##  ##  ##  ##
    """
    rows = [line.split() for line in counted.split("\n") if line.strip()]
    following = next_cells(MAZES["medium"], (6, 6))
    for row, cells in enumerate(rows):
        for column, steps in enumerate(cells):
            if steps == "##":
                continue
            cell = (row, column)
            for left in range(int(steps), 0, -1):
                after = tuple(following[cell])
                assert abs(after[0] - cell[0]) + abs(after[1] - cell[1]) == 1
                assert int(rows[after[0]][after[1]]) == left - 1
                cell = after
            assert cell == (6, 6)


def test_the_policy_gets_the_observation_without_x_and_y_and_its_own_noise():
    policy = Recorder()
    noise = np.arange(36, dtype=np.float32).reshape(2, 18) / 100
    behaviour = WayPoints(policy, MAZES["umaze"])
    assert behaviour.noise_dim == 18
    _, log_densities = behaviour.act(states_at([(0, 0), (1, 0)], [GOAL, GOAL]), noise)
    assert policy.observations.shape == (2, 29)
    assert policy.observations.dtype == np.float32
    np.testing.assert_array_equal(policy.observations[:, :27], [np.arange(102, 129)] * 2)
    np.testing.assert_array_equal(policy.noise, noise[:, 2:10])
    assert log_densities.tolist() == [0, 1]


def test_noise_is_added_and_the_sum_clipped():
    noise = np.zeros((1, 18), np.float32)
    noise[0, 10:] = [0, 1, -1, 2, -20, 0.25, -0.5, 3]
    states = states_at([(0, 0)], [GOAL])
    actions, _ = WayPoints(Recorder(0.7), MAZES["umaze"]).act(states, noise)
    np.testing.assert_allclose(actions, [[0.7, 0.9, 0.5, 1, -1, 0.75, 0.6, 1]], rtol=1e-6)
    assert actions.dtype == np.float32
    quieter, _ = WayPoints(Recorder(0.7), MAZES["umaze"], action_noise=0.1).act(states, noise)
    np.testing.assert_allclose(quieter, [[0.7, 0.8, 0.6, 0.9, -1, 0.725, 0.65, 1]], rtol=1e-6)


# Labels. Positions along x, the goal at 10.


def at(*places):
    return np.array([(place, 0.0) for place in places])


@pytest.mark.parametrize(
    ("places", "every", "single"),
    [
        ((0, 5, 9.6, 10, 10.4, 11, 10, 12), "01110100", "01000100"),
        ((0, 9.5, 9.4999, 10.5, 10.5001), "10100", "10100"),  # half a metre counts, more does not
        ((10, 10, 10), "110", "100"),  # nobody knows what follows the last row
        ((10, 0, 10), "010", "010"),
        ((10,), "0", "0"),
        ((0, 0, 0), "000", "000"),
    ],
)
def test_relabelling_by_hand(places, every, single):
    goal = np.array([10.0, 0.0])
    positions = at(*places)
    assert relabelled(positions, goal).dtype == bool
    assert "".join(str(int(row)) for row in relabelled(positions, goal)) == every
    assert "".join(str(int(row)) for row in relabelled(positions, goal, single=True)) == single


def test_relabelling_measures_in_the_plane():
    goal = np.array([3.0, 4.0])
    positions = np.array([(0, 0), (3.3, 4.3), (3.4, 4.4), (3, 3.5), (0, 4), (3, 0)])
    assert relabelled(positions, goal).tolist() == [True, False, True, False, False, False]
