"""BDPO of one seed, written a second time from its formulas: plain modules, autograd, torch.optim, no stacks.

Also its Gaussian and deterministic ablations. Only weights come from the modules under test.
"""

import math

import torch
from torch import nn

from tests.algorithms.checks import clip_by_global_norm, layer_norm, linear, slice_of

DOUBLE = torch.float64
FLAX_EPSILON = 1e-6
"""flax.linen.LayerNorm's, which the authors leave as it is; torch's is 1e-5."""


def vp_tables(steps):
    """beta_n and abar_n for n = 0 .. steps as lists of floats; entry 0 is the clean action."""
    beta, abar = [0.0], [1.0]
    for n in range(1, steps + 1):
        alpha = math.exp(-0.1 / steps - 0.5 * 9.9 * (2 * n - 1) / steps**2)
        beta.append(1 - alpha)
        abar.append(abar[-1] * alpha)
    return beta, abar


def stack_of_layers(weights, prefix, hidden, norm=False, last=True):
    """hidden x {Linear, [LayerNorm], Mish}, then a Linear if `last`, else a Linear and a Mish."""
    parts = []
    for i in range(hidden):
        parts.append(linear(weights, f"{prefix}layers.{i}"))
        if norm:
            parts.append(layer_norm(weights, f"{prefix}norms.{i}", FLAX_EPSILON))
        parts.append(nn.Mish())
    parts.append(linear(weights, f"{prefix}layers.{hidden}"))
    return nn.Sequential(*parts, *([] if last else [nn.Mish()]))


def embedded(n, width):
    """cos(n f_j), then sin(n f_j), f_j = exp(-j ln(10000) / (width/2 - 1)), for one integer n."""
    frequencies = [math.exp(-j * math.log(10_000) / (width // 2 - 1)) for j in range(width // 2)]
    values = [math.cos(n * f) for f in frequencies] + [math.sin(n * f) for f in frequencies]
    return torch.tensor(values, dtype=DOUBLE)


class NoiseNet(nn.Module):
    """[a^n, temb, s] -> noise; n is an integer, or one per row."""

    def __init__(self, weights, config):
        super().__init__()
        self.width = config.time_embedding_width
        self.time = stack_of_layers(weights, "embed.mlp.", 1, last=False)
        self.body = stack_of_layers(weights, "mlp.", config.actor_layers)

    def forward(self, a, s, n):
        features = torch.stack([embedded(k, self.width) for k in n])
        return self.body(torch.cat([a, self.time(features), s], dim=1))


class QNet(nn.Module):
    """[s, a] -> value."""

    def __init__(self, weights, config):
        super().__init__()
        self.body = stack_of_layers(weights, "mlp.", config.critic_layers, config.critic_layer_norm)

    def forward(self, s, a):
        return self.body(torch.cat([s, a], dim=1))[:, 0]


class VNet(nn.Module):
    """[s, a^n, temb] -> value, always with LayerNorm."""

    def __init__(self, weights, config):
        super().__init__()
        self.width = config.time_embedding_width
        self.time = stack_of_layers(weights, "embed.mlp.", 1, last=False)
        self.body = stack_of_layers(weights, "mlp.", config.critic_layers, norm=True)

    def forward(self, s, a, n):
        features = torch.stack([embedded(k, self.width) for k in n])
        return self.body(torch.cat([s, a, self.time(features)], dim=1))[:, 0]


class Bounded(nn.Module):
    """Policies of the ablation: tanh mean times the bound, and a log standard deviation if there is one."""

    def __init__(self, weights, config, bound, action):
        super().__init__()
        self.body = stack_of_layers(weights, "mlp.", config.actor_layers)
        self.bound, self.action = bound, action

    def forward(self, s):
        out = self.body(s)
        return self.bound * torch.tanh(out[:, : self.action]), out[:, self.action :]


def plain_networks(algorithm, seed):
    """{name: module or list of modules (ensembles)} of one seed, targets included."""
    state, config = algorithm.networks.state_dict(), algorithm.config

    def make(name):
        if name.endswith("critics"):
            kind = QNet
        elif name.endswith("diffusion_values"):
            kind = VNet
        elif hasattr(config, "diffusion_steps"):
            return NoiseNet(slice_of(state, f"{name}.", seed), config)
        else:
            dimensions = algorithm.dimensions
            weights = slice_of(state, f"{name}.", seed)
            return Bounded(weights, config, dimensions.action_bound, dimensions.action)
        members = range(config.ensemble)
        return nn.ModuleList(kind(slice_of(state, f"{name}.", seed, k), config) for k in members)

    return nn.ModuleDict({name: make(name) for name in algorithm.networks})


def lcb(values, rho):
    """values (K, B): mean minus rho population standard deviations."""
    k = len(values)
    mean = sum(values) / k
    if rho == 0 or k == 1:  # no deviation, and no derivative of sqrt(0)
        return mean
    return mean - rho * torch.sqrt(sum((v - mean) ** 2 for v in values) / k)


def kl_step(beta, abar, n, e_pi, e_nu):
    """l_n by its definition |mu_pi - mu_nu|^2 / (2 beta_n), with unclipped means, one row at a time."""
    rows = []
    for i, k in enumerate(n):
        # Size of d mu / d e where nothing is clipped: through x0, then through mu.
        slope = math.sqrt(abar[k - 1]) * beta[k] * math.sqrt(1 - abar[k]) / math.sqrt(abar[k]) / (1 - abar[k])
        rows.append(torch.sum((slope * (e_pi[i] - e_nu[i])) ** 2) / (2 * beta[k]))
    return torch.stack(rows)


def reverse_mean(beta, abar, a, n, e, bound):
    """mu_n row by row; `bound` None: no clip."""
    rows = []
    for i, k in enumerate(n):
        x0 = (a[i] - math.sqrt(1 - abar[k]) * e[i]) / math.sqrt(abar[k])
        if bound is not None:
            x0 = torch.clamp(x0, -bound, bound)
        top = math.sqrt(abar[k - 1]) * beta[k] * x0 + math.sqrt(1 - beta[k]) * (1 - abar[k - 1]) * a[i]
        rows.append(top / (1 - abar[k]))
    return torch.stack(rows)


def noised(abar, a, n, eps):
    return torch.stack([math.sqrt(abar[k]) * a[i] + math.sqrt(1 - abar[k]) * eps[i] for i, k in enumerate(n)])


def integer_steps(u, steps):
    """n = k where (k - 1) / steps <= u < k / steps."""
    return [min(int(x * steps), steps - 1) + 1 for x in u.tolist()]


class PlainTrainer:
    """What BDPO and its ablations share: order of updates, clip norms, schedules, averages, hand-over."""

    def __init__(self, networks, config, bound):
        self.nets, self.config, self.bound = networks, config, bound
        rates = {"behaviour": config.behaviour_learning_rate, "actor": config.actor_learning_rate}
        self.optimisers, self.schedulers = {}, {}
        for name in (n for n in networks if not n.startswith("target_")):
            rate = rates.get(name, config.critic_learning_rate)
            self.optimisers[name] = torch.optim.Adam(networks[name].parameters(), lr=rate, eps=1e-8)
            if name != "behaviour":
                self.schedulers[name] = torch.optim.lr_scheduler.CosineAnnealingLR(
                    self.optimisers[name], T_max=config.train_iterations
                )

    def hand_over(self):
        """Actor and its target become the average of the behaviour model."""
        for name in ("actor", "target_actor"):
            self.nets[name].load_state_dict(self.nets["target_behaviour"].state_dict())

    def pretrain(self, batch, draws):
        return {"behaviour_loss": self.behaviour_step(self.clipped(batch), draws)}

    def train(self, batch, draws, actor):
        batch = self.clipped(batch)
        losses, metrics = self.critic_losses(batch, draws)
        for name, loss in losses.items():
            metrics[f"{name}_loss"] = self.step(name, loss)
        for name in losses:
            self.follow(name)
        if actor:
            metrics["actor_loss"] = self.step("actor", self.actor_loss(batch, draws))
            self.follow("actor")
            if self.config.behaviour_in_training:
                metrics["behaviour_loss"] = self.behaviour_step(batch, draws)
        return metrics

    def clipped(self, batch):
        limit = self.bound - self.config.action_margin
        return {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}

    def behaviour_step(self, batch, draws):
        loss = self.step("behaviour", self.behaviour_loss(batch, draws))
        self.follow("behaviour")
        return loss

    def step(self, name, loss):
        for network in self.nets.values():
            network.zero_grad()
        loss.backward()
        clip_by_global_norm(self.nets[name].parameters(), self.config.gradient_norm)
        self.optimisers[name].step()
        if name in self.schedulers:
            self.schedulers[name].step()
        return loss.detach()

    def follow(self, name):
        rate = self.config.target_update_rate
        with torch.no_grad():
            pairs = zip(self.nets[f"target_{name}"].parameters(), self.nets[name].parameters(), strict=True)
            for slow, fast in pairs:
                slow.copy_((1 - rate) * slow + rate * fast)

    def q_target(self, batch, q, penalty):
        """q (K, B) per member at s', penalty (B,) = eta P."""
        config = self.config
        bootstrap = config.discount * (1 - batch["terminals"])
        if config.penalty_placement == "inside":
            return batch["rewards"] + bootstrap * (lcb(q, config.pessimism) - penalty)
        return batch["rewards"] + bootstrap * lcb(q, config.pessimism) - penalty

    def q_loss(self, batch, y):
        losses = [
            torch.mean((q(batch["observations"], batch["actions"]) - y) ** 2) for q in self.nets["critics"]
        ]
        return sum(losses) / len(losses)

    def per_member(self, samples, s, best):
        """Target Q of each member at N samples [(B, A)], their mean or best: list of (B,)."""
        members = []
        for q in self.nets["target_critics"]:
            values = torch.stack([q(s, a) for a in samples])
            members.append(values.max(dim=0).values if best else values.mean(dim=0))
        return members


class PlainBDPO(PlainTrainer):
    """Training of one seed."""

    def __init__(self, networks, config, bound):
        super().__init__(networks, config, bound)
        self.beta, self.abar = vp_tables(config.diffusion_steps)
        self.clip = bound if config.clip_denoised else None

    def behaviour_loss(self, batch, draws):
        n = integer_steps(draws["behaviour_step"], self.config.diffusion_steps)
        eps = draws["behaviour_noise"]
        a = noised(self.abar, batch["actions"], n, eps)
        return torch.mean((eps - self.nets["behaviour"](a, batch["observations"], n)) ** 2)

    def chain(self, policy, s, noise):
        """One chain per state: a^0 and the path KL (B,); noise (T, B, A)."""
        a, penalty, total = noise[0], 0.0, self.config.diffusion_steps
        for i, k in enumerate(range(total, 0, -1)):
            n = [k] * len(s)
            e = self.nets[policy](a, s, n)
            penalty = penalty + kl_step(self.beta, self.abar, n, e, self.nets["target_behaviour"](a, s, n))
            a = reverse_mean(self.beta, self.abar, a, n, e, self.clip)
            if k > 1:
                a = a + math.sqrt(self.beta[k]) * noise[i + 1]
        return a, penalty

    def critic_losses(self, batch, draws):
        config, metrics = self.config, {}
        with torch.no_grad():
            chains = [
                self.chain("target_actor", batch["next_observations"], draws["next_chain"][:, :, i])
                for i in range(config.samples)
            ]
            penalty = sum(p for _, p in chains) / config.samples
            q = self.per_member([a for a, _ in chains], batch["next_observations"], config.max_q_backup)
            y_q = self.q_target(batch, q, config.divergence_weight * penalty)
            metrics["path_divergence"] = penalty.mean()
            a_n, n, y_v = self.objective("target_actor", batch, draws, "value")
        s = batch["observations"]
        v_losses = [torch.mean((v(s, a_n, n) - y_v) ** 2) for v in self.nets["diffusion_values"]]
        losses = {"critics": self.q_loss(batch, y_q), "diffusion_values": sum(v_losses) / len(v_losses)}
        return losses, metrics

    def objective(self, policy, batch, draws, stage):
        """a^n, n and J(s, a^n), (B,)."""
        config, s = self.config, batch["observations"]
        n = integer_steps(draws[f"{stage}_step"], config.diffusion_steps)
        a_n = noised(self.abar, batch["actions"], n, draws[f"{stage}_noise"])
        e = self.nets[policy](a_n, s, n)
        mean = reverse_mean(self.beta, self.abar, a_n, n, e, self.clip)
        rows = []
        for b, k in enumerate(n):
            state = s[b : b + 1].expand(config.samples, -1)
            if k == 1:  # no noise: Q at the clean action, N times the same
                samples = mean[b : b + 1].expand(config.samples, -1)
                members = [q(state, samples).mean() for q in self.nets["target_critics"]]
            else:
                samples = mean[b] + math.sqrt(self.beta[k]) * draws[f"{stage}_reverse"][b]
                below = [k - 1] * config.samples
                members = [v(state, samples, below).mean() for v in self.nets["target_diffusion_values"]]
            rows.append(lcb(members, config.pessimism))
        e_nu = self.nets["target_behaviour"](a_n, s, n)
        penalty = kl_step(self.beta, self.abar, n, e, e_nu)
        return a_n, n, torch.stack(rows) - config.divergence_weight * penalty

    def actor_loss(self, batch, draws):
        return -torch.mean(self.objective("actor", batch, draws, "actor")[2])


class PlainUnimodal(PlainTrainer):
    """The ablation with Gaussian (`random`) or deterministic policies."""

    def __init__(self, networks, config, bound, random):
        super().__init__(networks, config, bound)
        self.random = random

    def distribution(self, name, s):
        mean, log_std = self.nets[name](s)
        if not self.random:
            return mean, None
        limits = self.config.log_std_min, self.config.log_std_max
        return mean, torch.exp(torch.clamp(log_std, *limits))

    def samples(self, policy, noise):
        mean, std = policy
        if not self.random:
            return [mean]
        actions = [mean + std * noise[:, i] for i in range(self.config.samples)]
        return [torch.clamp(a, -self.bound, self.bound) for a in actions]

    def divergence(self, policy, s):
        """Per state, by torch.distributions for Gaussians."""
        other = self.distribution("target_behaviour", s)
        if not self.random:
            return 0.5 * torch.sum((policy[0] - other[0]) ** 2, dim=1)
        normal = torch.distributions.Normal
        return torch.distributions.kl_divergence(normal(*policy), normal(*other)).sum(dim=1)

    def behaviour_loss(self, batch, draws):
        policy = self.distribution("behaviour", batch["observations"])
        if not self.random:
            return torch.mean((policy[0] - batch["actions"]) ** 2)
        return -torch.distributions.Normal(*policy).log_prob(batch["actions"]).sum(dim=1).mean()

    def critic_losses(self, batch, draws):
        config, s = self.config, batch["next_observations"]
        with torch.no_grad():
            policy = self.distribution("target_actor", s)
            best = self.random and config.max_q_backup
            q = self.per_member(self.samples(policy, draws.get("next_actions")), s, best)
            divergence = self.divergence(policy, s)
            y = self.q_target(batch, q, config.divergence_weight * divergence)
        return {"critics": self.q_loss(batch, y)}, {"divergence": divergence.mean()}

    def actor_loss(self, batch, draws):
        s = batch["observations"]
        policy = self.distribution("actor", s)
        q = self.per_member(self.samples(policy, draws.get("actor_actions")), s, best=False)
        objective = lcb(q, self.config.pessimism) - self.config.divergence_weight * self.divergence(policy, s)
        return -objective.mean()
