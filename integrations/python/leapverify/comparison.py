"""Held-out loss curves of runs, and when each run reaches a loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from leapverify.ledger import forwards_until, tries_of
from leapverify.runs import Run
from leapverify.trace_events import Look, Observation

_GATE = "gate"
_SHARES = ((0.25, "a quarter"), (0.5, "half"), (0.75, "three quarters"))


@dataclass(frozen=True)
class Curve:
    """Finite losses only."""

    #: What was scored.
    kind: str
    steps: Sequence[int]
    losses: Sequence[float]

    def first_at_or_below(self, loss: float) -> int | None:
        """The first step that was scored so; None where none was."""
        return next((step for step, own in zip(self.steps, self.losses) if own <= loss), None)

    def at(self, step: float) -> float:
        """Between two points by interpolation, beyond them the nearest; nan without points."""
        if not self.steps:
            return math.nan
        before = (self.steps[0], self.losses[0])
        for after in zip(self.steps, self.losses):
            if step <= after[0]:
                share = (step - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 1
                return before[1] + max(share, 0) * (after[1] - before[1])
            before = after
        return before[1]


def _curve(kind: str, points: Sequence[tuple[int, float | None]]) -> Curve:
    finite = [(step, loss) for step, loss in points if loss is not None and math.isfinite(loss)]
    return Curve(kind, [step for step, _ in finite], [loss for _, loss in finite])


def average_curve(run: Run) -> Curve:
    """Validation at the average of the recent weights."""
    return _curve("validation, average of the weights",
                  [(line.step, line.average_loss) for line in run.validation])


def training_curve(run: Run) -> Curve:
    return _curve("training", [(line.step, line.loss) for line in run.training])


def smoothed(curve: Curve) -> Curve:
    """Means over a window of a tenth of the points, narrower towards both ends."""
    reach = max(1, len(curve.steps) // 20)
    sums = [0.0, *itertools.accumulate(curve.losses)]
    means = []
    for index in range(len(curve.losses)):
        near = min(reach, index, len(curve.losses) - 1 - index)
        first, end = index - near, index + near + 1
        means.append((sums[end] - sums[first]) / (end - first))
    return Curve(curve.kind + ", smoothed", curve.steps, means)


def held_out_curve(run: Run) -> Curve:
    """Validation; without metrics what the trace holds: the probes' loss, else that of the weights
    which candidates were compared with, or of the averages that were looked at."""
    validation = _curve("validation", [(line.step, line.loss) for line in run.validation])
    if validation.steps:
        return validation
    probes = _curve("probe", [(event.step, event.probe_loss) for event in run.events
                               if isinstance(event, Observation)])
    if probes.steps:
        return probes
    compared = [(one.step, [c.reference_loss for c in one.candidates if c.pairs > 0])
                for one in tries_of(run.events)]
    looked_at = [(event.step, event.loss_after) for event in run.events
                 if isinstance(event, Look) and event.pairs > 0]
    return _curve(_GATE, sorted([*looked_at, *((step, losses[0]) for step, losses in compared if losses)]))


def comparable_to(run: Run, reference: Run) -> bool:
    """Whether held-out losses of both were scored alike: what tries were compared on is new each time."""
    curve = held_out_curve(run)
    return bool(curve.steps) and curve.kind == held_out_curve(reference).kind != _GATE


@dataclass(frozen=True)
class Reached:
    step: int
    seconds: float | None
    #: What probes and tries took until then, in training steps.
    cost_in_steps: float


@dataclass(frozen=True)
class Level:
    meaning: str
    loss: float
    #: For each run; None where it never got there.
    reached: Sequence[Reached | None]


def reference_of(runs: Sequence[Run]) -> int:
    """The run that others are held against: the first without leaps, else the first."""
    return next((index for index, run in enumerate(runs) if not run.leaps_on), 0)


def reached(run: Run, loss: float) -> Reached | None:
    """When a run first was at or below a held-out loss; None if never."""
    step = held_out_curve(run).first_at_or_below(loss)
    if step is None:
        return None
    cost = 0.0
    if run.settings and (forwards := forwards_until(run.events, step)):
        cost = forwards / run.settings.step_cost
    return Reached(step, run.seconds_at(step), cost)


def levels_of(runs: Sequence[Run]) -> list[Level]:
    """The losses that the reference had on its way and in the end, and the other runs' last ones,
    from the highest. A run whose losses are of another kind reaches none."""
    reference = runs[reference_of(runs)]
    own = held_out_curve(reference)
    if not comparable_to(reference, reference):
        return []
    wanted = {}
    for share, words in _SHARES:
        step = next(step for step in own.steps if step >= share * own.steps[-1])
        wanted[own.losses[own.steps.index(step)]] = f"{reference.name} after {words} of its steps"
    alike = [comparable_to(run, reference) for run in runs]
    for run in [*(run for run, is_alike in zip(runs, alike) if is_alike), reference]:
        wanted[held_out_curve(run).losses[-1]] = f"{run.name} at its end"
    return [Level(meaning, loss, [reached(run, loss) if is_alike else None
                                  for run, is_alike in zip(runs, alike)])
            for loss, meaning in sorted(wanted.items(), reverse=True)]


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Config keys in which runs differ, with each run's value; "" where a run has none."""
    keys = dict.fromkeys(key for run in runs for key in run.config if key != "run.folder")
    rows = [(key, [run.config.get(key, "") for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
