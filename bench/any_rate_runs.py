"""The runs of the any-rate bench: what the base optimizer's tuning found, and where each method ends from which rate."""

from __future__ import annotations

import statistics
from typing import Any

from closed_loop import first_below
from harness import SCHEDULES
from measured import ended

Line = dict[str, Any]


def is_lost(line: Line) -> bool:
    """Whether the training diverged; a run that failed otherwise, as for want of memory, says nothing about its rate."""
    return not ended(line) and ("diverged" in line.get("failed", "") or "final" in line)


def tuning(lines: list[Line], runs: int = 1) -> dict[float, dict[float, float | None]]:
    """{warm-up: {rate: final loss, the median over seeds, None where one diverged}} of the base optimizer's grids in an
    arena, at rates with so many runs."""
    found: dict[float, dict[float, list[float | None]]] = {}
    for line in lines:
        if line["purpose"] == "tune" and (ended(line) or is_lost(line)):
            found.setdefault(line["warmup"], {}).setdefault(line["rate"], []).append(line["final"] if ended(line) else None)
    return {warmup: {rate: _median(finals) for rate, finals in sorted(rates.items()) if len(finals) >= runs}
            for warmup, rates in sorted(found.items())}


def _median(finals: list[float | None]) -> float | None:
    known = [final for final in finals if final is not None]
    return statistics.median(known) if len(known) == len(finals) else None


def best_of(tuned: dict[float, dict[float, float | None]]) -> Line:
    """Rate, warm-up and final loss of the best run of all grids; one has ended."""
    final, rate, warmup = min((final, rate, warmup) for warmup, finals in tuned.items()
                              for rate, final in finals.items() if final is not None)
    return {"rate": rate, "warmup": warmup, "final": final}


def own_rate(tuned: dict[float, dict[float, float | None]], warmup: float) -> float | None:
    """The best rate at a warm-up; None where no run has ended."""
    finals = {rate: final for rate, final in tuned.get(warmup, {}).items() if final is not None}
    return min(finals, key=lambda rate: finals[rate]) if finals else None


def is_bracketed(finals: dict[float, float | None]) -> bool:
    """Whether the best rate has worse neighbours, or such as failed, on both sides."""
    ended_there = [rate for rate, final in finals.items() if final is not None]
    if not ended_there:
        return False
    best = min(ended_there, key=lambda rate: finals[rate] or 0)
    rates = list(finals)
    place = rates.index(best)
    if place in (0, len(rates) - 1):
        return False
    beside = (finals[rates[place - 1]], finals[rates[place + 1]])
    return all(final is None or final > (finals[best] or 0) for final in beside)


class Arena:
    """All runs in an arena, once its tuning is done."""

    def __init__(self, name: str, lines: list[Line]):
        self.name = name
        self.lines = lines
        tune = [line for line in lines if line["purpose"] == "tune"]
        self.tuning_runs = len(tune)
        self.tuned = tuning(lines, len({line["seed"] for line in tune}))
        self.best = best_of(self.tuned)
        #: Of the warm-up that all other runs have.
        self.own_warmup = next((line["warmup"] for line in lines if line["purpose"] == "range"), None)
        self.own_rate = own_rate(self.tuned, self.own_warmup) if self.own_warmup is not None else None
        #: Of those that differ in the schedule, the one in which the base optimizer is best.
        self.best_tuned = self

    @property
    def confirmed(self) -> list[float]:
        """Final losses of the base optimizer tuned here, by seed."""
        return [line["final"] for line in self.lines if line["purpose"] == "confirm" and ended(line)]

    @property
    def baseline(self) -> list[float]:
        """Those of the base optimizer with the best schedule."""
        return self.best_tuned.confirmed

    def methods(self, purpose: str = "range") -> list[str]:
        return list(dict.fromkeys(label_of(line) for line in self.lines if line["purpose"] == purpose))

    def runs(self, label: str, purpose: str = "range") -> dict[float, list[Line]]:
        """{multiple of the own rate: runs}; those that find their rate themselves have one multiple."""
        found: dict[float, list[Line]] = {}
        for line in self.lines:
            if line["purpose"] == purpose and label_of(line) == label:
                found.setdefault(line["rate"] / (self.own_rate or 1.0), []).append(line)
        return dict(sorted(found.items()))

    def speed_ups(self, runs: list[Line]) -> list[float]:
        """Of runs that ended: their steps over those to the tuned optimizer's final loss, 0 where they never get there."""
        target = statistics.median(self.baseline)
        found = []
        for line in filter(ended, runs):
            step = first_below([(point[0], point[-1]) for point in line["curve"]], target)
            found.append(line["steps"] / step if step else 0.0)
        return found

    def median(self, runs: list[Line]) -> float:
        """Final loss; infinite where more than half diverged, nan where nothing is known."""
        losses = [line["final"] if ended(line) else float("inf") for line in runs if ended(line) or is_lost(line)]
        return statistics.median(losses) if losses else float("nan")


def label_of(line: Line) -> str:
    return f"{line['method']}:{line['variant']}" if line["variant"] else line["method"]


def arenas_of(lines: list[Line]) -> list[Arena]:
    """Those in which something besides the tuning was run."""
    names = dict.fromkeys(line["arena"] for line in lines if line["purpose"] != "tune")
    found = {name: Arena(name, [line for line in lines if line["arena"] == name]) for name in names}
    for name, arena in found.items():
        beside = [found[f"{name}-{schedule}"] for schedule in SCHEDULES if f"{name}-{schedule}" in found]
        arena.best_tuned = min((one for one in (arena, *beside) if one.confirmed), key=lambda one: one.best["final"],
                               default=arena)
    return list(found.values())
