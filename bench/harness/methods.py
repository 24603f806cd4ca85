"""The methods that are compared. Each trains the same model from the same weights on the same batches.

All but schedulefree and prodigy-schedulefree, which have no schedule, warm up and then follow the schedule of their
recipe; all clip gradients to norm 1 and decay weights by 0.01, decoupled but for SGD's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FINAL = 0.02
#: Share of the steps over which wsd comes down.
WSD_DECAY = 0.2
DECAY = 0.01


@dataclass(frozen=True)
class Recipe:
    """What every method of an arena begins with."""

    optimizer: str = "adamw"
    schedule: str = "cosine"
    #: Share of the steps.
    warmup: float = 0.1


def schedule(step: int, steps: int, recipe: Recipe = Recipe()) -> float:  # noqa: B008: immutable
    """Factor on the learning rate of a step, from 0."""
    warmup = max(1, round(recipe.warmup * steps)) if recipe.warmup > 0 else 0
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * share)), "linear": 1 - share, "constant": 1.0,
            "wsd": min(1.0, (1 - share) / WSD_DECAY)}[recipe.schedule]
    return FINAL + (1 - FINAL) * left


class MuonAndAdamW(torch.optim.Optimizer):
    """torch's Muon for the matrices inside, AdamW for the rest, at one rate as "match_rms_adamw" is meant."""

    def __init__(self, model: nn.Module, rate: float):
        inside = [p for name, p in model.named_parameters() if p.requires_grad and p.dim() == 2 and "blocks" in name]
        rest = _without(trained(model), inside)
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inside, lr=rate, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")]
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=rate, weight_decay=DECAY))
        super().__init__([*inside, *rest], {"lr": rate})
        # Shared with the parts, so that who changes a rate here changes it there.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()


BASES: dict[str, Callable[[nn.Module, float], torch.optim.Optimizer]] = {
    "adamw": lambda model, rate: torch.optim.AdamW(trained(model), lr=rate, weight_decay=DECAY),
    "sgd": lambda model, rate: torch.optim.SGD(trained(model), lr=rate, momentum=0.9, weight_decay=DECAY),
    "muon": MuonAndAdamW,
}


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class Method:
    """The recipe's optimizer with its schedule."""

    #: Which texts it trains on.
    split = "train"

    def __init__(self, model: nn.Module, rate: float, steps: int, recipe: Recipe = Recipe()):  # noqa: B008: immutable
        self.model = model
        self.recipe = recipe
        self.optimizer = self.make(model, rate, steps)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: self.factor(step, steps))

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        return BASES[self.recipe.optimizer](model, rate)

    def factor(self, step: int, steps: int) -> float:
        return schedule(step, steps, self.recipe)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self) -> None:
        self.optimizer.step()
        self.scheduler.step()

    def judged(self, score: Callable[[], float]) -> float:
        """What `score` returns at the weights that the method would hand out."""
        return score()

    def spent(self) -> dict[str, float]:
        """What verification took and gave: nothing, but for LeapVerify."""
        return {"cost_steps": 0.0, "tries": 0, "accepted": 0, "rate_scale": 1.0}


class WithGateData(Method):
    """A user without LeapVerify trains on what it would have kept back."""

    split = "train and gate"


class LeapVerify(Method):
    enabled = True

    def __init__(self, model: nn.Module, rate: float, steps: int, recipe: Recipe, gate: list[Any],
                 losses: Callable[[nn.Module, Any], Tensor], batch: int, **options: Any):
        import leapverify

        self.options = options
        self.evaluator = leapverify.BatchEvaluator(
            model, gate, losses, sequences_per_step=batch, max_sequences=sum(map(_count, gate)))
        self.wrap = leapverify.LeapVerify
        super().__init__(model, rate, steps, recipe)

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        base = super().make(model, rate, steps)
        self.wrapper = self.wrap(base, self.evaluator, planned_steps=steps, enabled=self.enabled, **self.options)
        return self.wrapper

    def spent(self) -> dict[str, float]:
        if not self.enabled:
            return super().spent()
        status = self.wrapper.status()
        if status["off_reason"]:
            raise RuntimeError(f"leaps went off: {status['off_reason']}")
        return {"cost_steps": status["forwards"] / self.evaluator.step_cost, "tries": status["tries"],
                "accepted": status["accepted"], "looks": status["looks"], "went_back": status["went_back"],
                "rate_scale": status["learning_rate_scale"]}


def _count(batch: Any) -> int:
    return len(batch if isinstance(batch, Tensor) else batch[0])


class LeapVerifyFree(LeapVerify):
    """The preset free, judged at the average that its runs end at."""

    preset = "free"

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        self.options = {"preset": self.preset, **self.options}
        return super().make(model, rate, steps)

    def judged(self, score: Callable[[], float]) -> float:
        return self.wrapper.at_average(score)  # type: ignore[no-any-return]


class LeapVerifyAuto(LeapVerifyFree):
    preset = "auto"


class LeapVerifyOff(LeapVerify):
    enabled = False


class Average(Method):
    """AdamW, judged at the exponential average of its weights over some 5 % of the run."""

    def __init__(self, model: nn.Module, rate: float, steps: int, recipe: Recipe = Recipe()):  # noqa: B008: immutable
        super().__init__(model, rate, steps, recipe)
        self.weight = min(1.0, 20 / steps)
        self.average = [parameter.detach().clone() for parameter in trained(model)]

    def step(self) -> None:
        super().step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in trained(self.model)], self.weight)

    def judged(self, score: Callable[[], float]) -> float:
        return _at(self.average, self.model, score)


class Outer(Method):
    """SNOO (arXiv 2510.15830): after every `interval` steps of AdamW a Nesterov step on how far they went. With momentum
    0 it is Lookahead (arXiv 1907.08610). Judged at the slow weights, as published."""

    interval = 20
    outer_rate = 0.8
    momentum = 0.5

    def __init__(self, model: nn.Module, rate: float, steps: int, recipe: Recipe = Recipe()):  # noqa: B008: immutable
        super().__init__(model, rate, steps, recipe)
        self.done = 0
        self.slow = [parameter.detach().clone() for parameter in trained(model)]
        self.buffer = [torch.zeros_like(parameter) for parameter in self.slow]

    @torch.no_grad()
    def step(self) -> None:
        super().step()
        self.done += 1
        if self.done % self.interval != 0:
            return
        fast = [parameter.detach() for parameter in trained(self.model)]
        gone = torch._foreach_sub(self.slow, fast)
        torch._foreach_mul_(self.buffer, self.momentum)
        torch._foreach_add_(self.buffer, gone)
        torch._foreach_add_(self.slow, gone, alpha=-self.outer_rate)
        torch._foreach_add_(self.slow, self.buffer, alpha=-self.outer_rate * self.momentum)
        _set(trained(self.model), self.slow)

    def judged(self, score: Callable[[], float]) -> float:
        return _at(self.slow, self.model, score)


class Lookahead(Outer):
    interval = 5
    outer_rate = 0.5
    momentum = 0.0


class ScheduleFree(Method):
    optimizer: Any

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        import schedulefree

        warmup = max(1, round(self.recipe.warmup * steps))
        optimizer = schedulefree.AdamWScheduleFree(trained(model), lr=rate, weight_decay=DECAY, warmup_steps=warmup)
        optimizer.train()
        return optimizer

    def factor(self, step: int, steps: int) -> float:
        return 1.0

    def judged(self, score: Callable[[], float]) -> float:
        self.optimizer.eval()
        try:
            return score()
        finally:
            self.optimizer.train()


class ProdigyScheduleFree(ScheduleFree):
    """Of prodigy-plus-schedule-free, which needs neither rate nor schedule."""

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        import prodigyplus

        optimizer = prodigyplus.ProdigyPlusScheduleFree(trained(model), lr=rate, weight_decay=DECAY)
        optimizer.train()
        return optimizer


class Prodigy(Method):
    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        import prodigyopt

        return prodigyopt.Prodigy(trained(model), lr=rate, weight_decay=DECAY, decouple=True, use_bias_correction=True,
                                  safeguard_warmup=True)


class DAdaptation(Method):
    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        import dadaptation

        return dadaptation.DAdaptAdam(trained(model), lr=rate, weight_decay=DECAY, decouple=True)


class Mechanic(Method):
    """Tunes the rate of AdamW, by its authors' package (arXiv 2306.00144)."""

    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        import mechanic_pytorch

        return mechanic_pytorch.mechanize(torch.optim.AdamW)(trained(model), lr=rate, weight_decay=DECAY)


class Muon(Method):
    def make(self, model: nn.Module, rate: float, steps: int) -> torch.optim.Optimizer:
        return MuonAndAdamW(model, rate)


def _without(parameters: Iterable[nn.Parameter], taken: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    known = {id(parameter) for parameter in taken}
    return [parameter for parameter in parameters if id(parameter) not in known]


def _at(weights: list[Tensor], model: nn.Module, score: Callable[[], float]) -> float:
    """What `score` returns with those weights in the place of the model's, which come back."""
    own = [parameter.detach().clone() for parameter in trained(model)]
    _set(trained(model), weights)
    try:
        return score()
    finally:
        _set(trained(model), own)


@torch.no_grad()
def _set(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    torch._foreach_copy_([parameter.detach() for parameter in parameters], values)


METHODS: dict[str, type[Method]] = {
    "alone": Method, "adamw": Method, "leapverify": LeapVerify, "leapverify-free": LeapVerifyFree,
    "leapverify-auto": LeapVerifyAuto,
    "adamw+gate-data": WithGateData, "ema": Average, "snoo": Outer, "lookahead": Lookahead, "schedulefree": ScheduleFree,
    "prodigy": Prodigy, "prodigy-schedulefree": ProdigyScheduleFree, "dadaptation": DAdaptation, "mechanic": Mechanic,
    "muon": Muon,
    "leapverify-off": LeapVerifyOff, "adamw-decay-shortened": Method,
}

# Their rate is a factor on one that they find themselves.
FREE_OF_RATE = ("prodigy", "dadaptation", "mechanic")
