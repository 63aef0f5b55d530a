"""Imitates the data, then improves on it by what critics say: a method to be changed into another."""

import torch
from torch.nn.functional import relu

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Draw,
    NonNegative,
    Phase,
    Positive,
    Width,
    hyperparameters,
)
from algorithms.networks import MLP, CriticEnsemble, Initialiser
from algorithms.optim import Adam


@hyperparameters
class ToyConfig:
    imitation_updates: Count
    """iterations"""
    improvement_updates: Count
    """iterations"""
    batch_size: BatchSize
    """transitions"""
    width: Width
    """units per hidden layer"""
    learning_rate: Positive
    """per step"""
    noise: NonNegative
    """in units of the action bound; of next actions and of proposed ones"""
    actor_interval: Count
    """iterations of the critics to one of the actor"""
    proposals: Count
    """actions of which the most valuable is taken"""


class Toy(Algorithm):
    name = "toy"

    def build(self):
        size, hidden = self.dimensions, (self.config.width, self.config.width)
        layers = (size.observation, *hidden, size.action)
        self.add("actor", MLP(Initialiser(self.seeds, "actor"), layers, relu))
        critics = Initialiser(self.seeds, "critics")
        self.add("critics", CriticEnsemble(critics, size.observation, size.action, hidden, relu))
        self.add_target("critics")
        for name in ("actor", "critics"):
            self.optimisers[name] = Adam(self.networks[name].parameters(), self.config.learning_rate)
        self.act_draws = (Draw("noise", (self.config.proposals, size.action), "normal"),)

    @property
    def phases(self):
        config, rows = self.config, self.config.batch_size
        noise = Draw("noise", (rows, self.dimensions.action), "normal")
        return (
            Phase("imitate", config.imitation_updates, rows),
            Phase("improve", config.improvement_updates, rows, (noise,), self.program, evaluated=True),
        )

    def program(self, step):
        return "critics" if step % self.config.actor_interval else "critics and actor"

    def update(self, program, batch, draws):
        if program == "imitate":
            return {"distance": self.move_actor(batch, value_weight=0.0)}
        metrics = {"error": self.move_critics(batch, draws["noise"])}
        if program == "critics and actor":
            metrics["distance"] = self.move_actor(batch, value_weight=1.0)
        return metrics

    def move_actor(self, batch, value_weight):
        actions = self.policy(batch["observations"])
        distance = (actions - batch["actions"]).square().mean(dim=(1, 2))  # (S,): a loss per seed
        values = self.networks["critics"](batch["observations"], actions).mean(dim=(1, 2))
        self.minimise("actor", distance - value_weight * values / (values.detach().abs() + 1))
        return distance.detach()

    def move_critics(self, batch, noise):
        with torch.no_grad():
            following = self.noisy(self.policy(batch["next_observations"]), noise)
            values = self.networks["target_critics"](batch["next_observations"], following).amin(dim=1)
            targets = batch["rewards"] + 0.99 * (1 - batch["terminals"]) * values
        errors = self.networks["critics"](batch["observations"], batch["actions"]) - targets.unsqueeze(1)
        loss = errors.square().mean(dim=(1, 2))
        self.minimise("critics", loss)
        self.follow("critics", 0.005)
        return loss.detach()

    @torch.no_grad()
    def act(self, observations, draws):  # (S, N, O) and noise (S, N, proposals, A) -> (S, N, A)
        actions = self.noisy(self.policy(observations).unsqueeze(2), draws["noise"])
        repeated = observations.unsqueeze(2).expand(*actions.shape[:3], -1)
        values = self.networks["critics"](repeated.flatten(1, 2), actions.flatten(1, 2)).amin(dim=1)
        best = values.view(actions.shape[:3]).argmax(dim=2)
        return actions.take_along_dim(best[..., None, None], dim=2).squeeze(2)

    def policy(self, observations):
        return self.dimensions.action_bound * torch.tanh(self.networks["actor"](observations))

    def noisy(self, actions, noise):
        bound = self.dimensions.action_bound
        return (actions + bound * self.config.noise * noise).clamp(-bound, bound)
