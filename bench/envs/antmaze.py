"""Rules of D4RL's AntMaze: an ant that is rewarded once, where it reaches the goal of a maze.

The robot is gymnasium's own ant with D4RL's few changes; under `d4rl` physics it takes the very steps of
MuJoCo 2.1.0. The goal is not observed. `-play` and `-diverse` differ in their data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self
from xml.etree import ElementTree

import numpy as np

from bench.envs.model_files import gymnasium_model
from bench.envs.rules import Beginning, Proof, Robot, States, View
from bench.records import Physics

if TYPE_CHECKING:
    import mujoco

CELL_SIZE = 4.0
"""Metres along a side of a cell."""
WALL_HEIGHT = 2.0
"""Metres."""
START = (1, 1)
"""Row and column of the start cell, whose centre is the origin."""
GOAL_RADIUS = 0.5
"""Metres in the plane; a torso this near has reached the goal."""
TORQUE = 30.0
"""N m that an action of 1 asks of a joint."""
RESET_SCALE = 0.1
"""Half-width of the noise on the initial positions, deviation of that on the velocities."""

ANT_SHA256 = "cd5f83ef0ea35b0969e65d360c5bacd5b74ccaef6b27e4433b5168c605e3e2be"
"""Of gymnasium's model of the ant."""
MOST_INSIDE_WALLS = 0.01
"""Share of the positions of any data that may lie inside walls; a torso leans over the edge of one."""
JUMP = 5.0
"""Metres in the plane, which no step leads."""


@dataclass(frozen=True)
class Maze:
    """Square cells; rows run along +y, columns along +x."""

    rows: tuple[str, ...]
    """1 is a wall, R the start, G the task's goal."""
    generation_goals: tuple[tuple[int, int], ...]
    """Row and column of the goal cells of the map that D4RL generated its data with."""

    @cached_property
    def walls(self) -> np.ndarray:
        """(R, C) bool."""
        return np.array([[cell == "1" for cell in row] for row in self.rows])

    @cached_property
    def goal(self) -> tuple[int, int]:
        """Row and column of the task's goal cell."""
        return next((i, row.index("G")) for i, row in enumerate(self.rows) if "G" in row)

    @cached_property
    def starts(self) -> np.ndarray:
        """(K, 2) rows and columns where a robot may start that starts anywhere: free, and no goal."""
        taken = self.walls.copy()
        taken[tuple(np.transpose(self.generation_goals))] = True
        return np.argwhere(~taken)

    def inside_walls(self, positions: np.ndarray) -> np.ndarray:
        """Whether positions (N, 2) in metres are those of wall cells, or outside the maze, (N,) bool."""
        cells = np.floor(positions[:, ::-1] / CELL_SIZE + 0.5).astype(int) + START
        rows, columns = np.clip(cells, 0, np.subtract(self.walls.shape, 1)).T
        return self.walls[rows, columns]


def centre(cells: np.ndarray | tuple[int, int]) -> np.ndarray:
    """x and y (..., 2) in metres of the centres of cells (..., 2), which are given as row and column."""
    return CELL_SIZE * (np.asarray(cells)[..., ::-1] - np.array(START)[::-1])


@dataclass(frozen=True, kw_only=True)
class AntMaze(Robot):
    """The rules of one maze; qpos is x, y, z, the quaternion w, x, y, z and eight joints."""

    maze: Maze
    multistart: bool = False
    """The robot starts anywhere instead of in the start cell."""
    multigoal: bool = False
    """The goal's cell is drawn from those of the generation map instead of being the task's."""
    ends: bool = True
    """Reaching the goal ends the episode."""

    frame_skip: int = 5
    physics: tuple[Physics, ...] = ("d4rl", "modern")
    travelled: int = 2
    recorded: Mapping[str, str] = field(default_factory=lambda: {"infos/goal": "goal"})
    terminals_end: bool = False
    """In D4RL's files they say that the goal was near while the episode went on."""

    def collecting(self, multistart: bool, multigoal: bool) -> Self:
        """The rules by which D4RL's generator made data in this maze.

        Success ends nothing, and an episode has one more step than under the task's rules, because the
        generator marks the step after the limit.
        """
        return replace(self, multistart=multistart, multigoal=multigoal, ends=False, horizon=self.horizon + 1)

    def load_model(self, physics: Physics) -> mujoco.MjModel:
        """The ant in its maze; under `d4rl` with the capsule inertia and collision of MuJoCo up to 2.1.0."""
        import mujoco

        from bench.envs.physics import restore_capsule_inertia, switch_off_native_collision

        model = mujoco.MjModel.from_xml_string(model_text(gymnasium_model("ant.xml", ANT_SHA256), self.maze))
        if physics == "d4rl":
            restore_capsule_inertia(model, "old")
            switch_off_native_collision(model)
        return model

    def begin(
        self, model: mujoco.MjModel, episode: np.random.Generator, goal: np.random.Generator
    ) -> Beginning:
        """The model's own state with noise on every entry; the joints at 0 are outside their ranges."""
        qpos = model.qpos0 + episode.uniform(-RESET_SCALE, RESET_SCALE, model.nq)
        qvel = RESET_SCALE * episode.standard_normal(model.nv)
        if self.multistart:
            qpos[:2] = centre(episode.choice(self.maze.starts)) + episode.uniform(size=2)
        return Beginning(qpos, qvel, {"goal": self.draw_goal(goal)})

    def draw_goal(self, goal: np.random.Generator) -> np.ndarray:
        """x and y (2,) in metres, near the centre of a goal cell."""
        cells = self.maze.generation_goals if self.multigoal else (self.maze.goal,)
        place = centre(cells[goal.integers(len(cells))])
        # D4RL also raises negative coordinates to 0, which no cell but one of the outer wall has.
        return place + goal.uniform(size=2) + goal.uniform(high=0.5, size=2)

    def observe(self, states: States) -> np.ndarray:
        """(N, 29): positions and velocities, without the goal."""
        return np.concatenate((states.qpos, states.qvel), axis=1)

    def control(self, actions: np.ndarray, states: States) -> np.ndarray:
        """Torques (N, 8) in N m; actions beyond 1 are clipped."""
        return TORQUE * np.clip(np.asarray(actions, dtype=np.float64), -1, 1)

    def outcome(
        self, qpos_before: np.ndarray, states: States, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """1 where the goal is reached, else 0; falling over ends nothing."""
        reached = at_goal(states.qpos[:, :2], states.memory["goal"])
        return reached.astype(np.float64), reached & self.ends

    def misfit(self, observations: np.ndarray) -> str:
        """By positions inside walls: those of another maze's free cells."""
        within = self.maze.inside_walls(observations[:, :2]).mean()
        if within <= MOST_INSIDE_WALLS:
            return ""
        return f"{within:.0%} of its positions lie inside this maze's walls."

    def observed_between(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole state."""
        seen = np.concatenate((qpos, qvel), axis=1)
        return seen, seen

    def recorded_outcome(
        self,
        qpos_before: np.ndarray,
        qpos: np.ndarray,
        qvel: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray,
    ) -> str:
        """D4RL made all rewards afterwards."""
        return "They were made afterwards, against one goal that the file does not hold."

    def earned(self, returns: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """One for success: D4RL's files hold a reward for every row near the goal."""
        return (largest > 0).astype(np.float64)

    def jumps(self, observations: np.ndarray, next_observations: np.ndarray) -> int:
        """Transitions that lead more than JUMP across the maze."""
        moved = next_observations[:, :2] - observations[:, :2]
        return int((np.linalg.norm(moved, axis=1) > JUMP).sum())


def at_goal(positions: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Whether positions (..., 2) are within the radius of goals (..., 2), (...) bool."""
    return np.linalg.norm(positions - goals, axis=-1) <= GOAL_RADIUS


def model_text(ant: bytes, maze: Maze) -> str:
    """XML of gymnasium's `ant` with D4RL's time step, contacts and motors, and the walls of a maze."""
    root = ElementTree.fromstring(ant)
    _only(root, "option").set("timestep", "0.02")
    _only(root, "default/geom").attrib.update(solref=".02 1", solimp=".8 .8 .01")
    for motor in root.iterfind("actuator/motor"):
        del motor.attrib["gear"]
        motor.set("ctrlrange", f"{-TORQUE:g} {TORQUE:g}")
    world = _only(root, "worldbody")
    for cell in np.argwhere(maze.walls):
        x, y = centre(cell)
        ElementTree.SubElement(
            world,
            "geom",
            type="box",
            pos=f"{x:g} {y:g} {WALL_HEIGHT / 2:g}",
            size=f"{CELL_SIZE / 2:g} {CELL_SIZE / 2:g} {WALL_HEIGHT / 2:g}",
            contype="1",
            conaffinity="1",
        )
    return ElementTree.tostring(root, encoding="unicode")


def _only(root: ElementTree.Element, path: str) -> ElementTree.Element:
    (found,) = root.findall(path)
    return found


MAZES = {
    "umaze": Maze(
        (
            "11111",
            "1R001",
            "11101",
            "1G001",
            "11111",
        ),
        generation_goals=((3, 1),),
    ),
    "medium": Maze(
        (
            "11111111",
            "1R011001",
            "10010001",
            "11000111",
            "10010001",
            "10100101",
            "100010G1",
            "11111111",
        ),
        generation_goals=((2, 6), (5, 1), (6, 5)),
    ),
    "large": Maze(
        (
            "111111111111",
            "1R0001000001",
            "101101010101",
            "100000010001",
            "101111011101",
            "100101000001",
            "110101010111",
            "100100010G01",
            "111111111111",
        ),
        generation_goals=((1, 6), (3, 5), (3, 10), (5, 2), (7, 4), (7, 6), (7, 9)),
    ),
}

ANTMAZES = {
    f"antmaze-{name}": AntMaze(
        maze=maze,
        horizon=700 if name == "umaze" else 1000,
        proof=Proof((f"antmaze_{name}",), steps=360, largest=1e-13, largest_by_default=default),
        view=View(at=centre, distance=distance, elevation=-70.0),
    )
    for (name, maze), default, centre, distance in zip(
        MAZES.items(),
        (0.74, 0.69, 0.62),
        ((4.0, 4.0, 0.0), (10.0, 10.0, 0.0), (18.0, 12.0, 0.0)),
        (20.0, 32.0, 46.0),
        strict=True,
    )
}
