"""A small regression with dropout and batch norm: everything that a leap could disturb."""

import json
import math
import pathlib

import torch
from torch import nn

import leapverify

INPUTS, ROWS = 8, 16

# Leaps from the weights of now as published; every observation from step 10 on is a try.
EAGER = dict(
    preset="paper", observe_every=5, probes=8, horizons=[2, 5], least_regime="chaotic", first_leap=0,
    max_overhead=math.inf, max_backoff=0, gate="fresh", moments="keep", moment_scale=1,
    verification={"sequences": 16, "rule": "strict"},
)
ACCEPTING = {**EAGER, "verification": {"sequences": 16, "rule": "proximity", "proximity_tolerance": 1e9}}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(INPUTS, 32)
        self.norm = nn.BatchNorm1d(32)
        self.dropout = nn.Dropout(0.25)
        self.second = nn.Linear(32, 1)
        self.register_buffer("odd", torch.zeros(3, dtype=torch.bool))

    def forward(self, x):
        if self.training:
            self.odd.logical_not_()
        return self.second(self.dropout(torch.relu(self.norm(self.first(x))))).squeeze(1)


def inputs(seed, rows=ROWS):
    flat = torch.arange(rows * INPUTS, dtype=torch.float64)
    mixed = torch.sin(flat * 12.9898 + seed * 78.233) * 43758.5453
    return ((mixed - mixed.floor()) * 4 - 2).float().view(rows, INPUTS)


def target(x):
    return torch.sin(x).sum(1)


def squared(outputs, targets):
    return (outputs - targets).square()


def forward(model, batch):
    return model(batch[0]), batch[1]


class ToyEvaluator(leapverify.BatchEvaluator):
    """Counts its evaluations; with `reject` each one's losses are worse than all before, but the canary's."""

    def __init__(self, model, *, reject=False, rows=256):
        x = inputs(999, rows)
        super().__init__(
            model, [(x, target(x))], leapverify.evaluators.SequenceLosses(squared, forward),
            sequences_per_step=ROWS, probe="norm")
        self.reject = reject
        self.evaluations = 0

    def evaluate(self, sequences, activations):
        self.evaluations += 1
        losses, vectors = super().evaluate(sequences, activations)
        if self.reject and len(sequences) > 2:
            losses = losses + self.evaluations
        return losses, vectors


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=3e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=3e-3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
}


class Run:
    """A model, its optimizer and, where options are given, the wrapper around it."""

    def __init__(self, options=None, *, base="AdamW", reject=False, **more):
        torch.manual_seed(7)
        self.model = Net()
        make = OPTIMIZERS[base] if isinstance(base, str) else base
        self.base = make(self.model.parameters())
        self.events = []
        self.evaluator = ToyEvaluator(self.model, reject=reject)
        self.optimizer = self.base
        if options is not None:
            self.optimizer = leapverify.LeapVerify(
                self.base, self.evaluator, **{"trace": self.events.append, **options, **more})
        self.steps = 0

    def backward(self):
        x = inputs(self.steps)
        self.steps += 1
        self.optimizer.zero_grad()
        loss = squared(self.model(x), target(x)).mean()
        loss.backward()
        return loss

    def train(self, steps, closure=False):
        for _ in range(steps):
            if closure:
                self.optimizer.step(self.backward)
            else:
                self.backward()
                self.optimizer.step()
        return self

    def kinds(self, event):
        return [e for e in self.events if e["event"] == event]

    def everything(self):
        """All that training changes, bitwise comparable."""
        out = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, tensor in self.model.named_parameters():
            out[f"grad.{name}"] = tensor.grad
        state = self.base.state_dict()
        for position, entries in state["state"].items():
            out.update({f"state.{position}.{name}": value for name, value in entries.items()})
        for number, group in enumerate(state["param_groups"]):
            out[f"lr.{number}"] = group["lr"]
        out["random"] = torch.get_rng_state()
        return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in out.items()}


def differences(a, b):
    """Names of what is not bitwise the same."""
    found = set(a) ^ set(b)
    for name in set(a) & set(b):
        x, y = a[name], b[name]
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            same = x.dtype == y.dtype and x.shape == y.shape and x.contiguous().view(-1).view(torch.uint8).equal(
                y.contiguous().view(-1).view(torch.uint8)) if x.numel() else x.shape == y.shape
        else:
            same = x == y
        if not same:
            found.add(name)
    return sorted(found)


def read_trace(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
