"""The runs of the time-to-target bench, by arena and method: which rate is a method's best, and when it is there.

The target of an arena is the median final validation loss of plain AdamW at its best rate. A method's speed-up is
AdamW's way to the target over its own, seed by seed: in steps with the verification until then on top of its own, and
in time as the clocks ran. Where AdamW itself does not reach the
target, its whole run stands for its way, which is less than it would take; a run that does not reach it has a speed-up
of 0.
"""

import statistics
from dataclasses import dataclass
from functools import cached_property

from measured import ended

BASELINE, OURS = "adamw", "leapverify"
#: Where a clock stands in a row of a curve.
CLOCKS = {"steps": 0, "time": 1, "device time": 2}


@dataclass
class Method:
    name: str
    lines: list

    @cached_property
    def grid(self):
        """{rate: final loss}, None where every run there failed."""
        found = {}
        for rate in sorted({line["rate"] for line in self.lines if line["purpose"] == "grid"}):
            finals = [line["final"] for line in self.lines
                      if line["purpose"] == "grid" and line["rate"] == rate and ended(line)]
            found[rate] = statistics.median(finals) if finals else None
        return found

    @cached_property
    def rate(self):
        """The best of the grid; without a grid that of the confirming runs; None where all failed."""
        finals = {rate: final for rate, final in self.grid.items() if final is not None}
        if finals:
            return min(finals, key=finals.get)
        return next((line["rate"] for line in self.lines if ended(line)), None)

    @property
    def bracket(self):
        """Whether the best rate has worse neighbours on both sides."""
        rates = list(self.grid)
        if self.rate not in self.grid:
            return "no grid"
        place = rates.index(self.rate)
        missing = [side for side, beyond in (("below", place == 0), ("above", place == len(rates) - 1)) if beyond]
        if missing:
            return f"no: no rate {' or '.join(missing)}"
        level = [rate for rate in (rates[place - 1], rates[place + 1]) if self.grid[rate] == self.grid[self.rate]]
        return "no: as good beside it" if level else "yes"

    @cached_property
    def confirmed(self):
        """{seed: run} at the best rate, those that failed left out."""
        return {line["seed"]: line for line in self.lines
                if line["purpose"] == "confirm" and line["rate"] == self.rate and ended(line)}

    @property
    def failed(self):
        return [line for line in self.lines if not ended(line)]

    def at(self, rate):
        """{seed: run} at any rate, whatever its purpose."""
        return {line["seed"]: line for line in self.lines if line["rate"] == rate and ended(line)}

    def values(self, key):
        """Of the confirming runs that have one."""
        return [line[key] for line in self.confirmed.values() if line.get(key) is not None]


def way(line, target):
    """{clock: how far to the target}, None where it is not reached. Before the first step nobody has trained."""
    costs = dict(map(tuple, line.get("cost_curve") or []))
    for row in line["curve"]:
        if row[0] > 0 and row[3] <= target:
            found = {clock: row[place] for clock, place in CLOCKS.items()}
            found["steps"] += costs.get(row[0], line.get("cost_steps") or 0)
            return found
    return None


class Arena:
    def __init__(self, name, lines):
        self.name = name
        baseline_steps = {line["steps"] for line in lines if line["method"] == BASELINE}
        named = {}
        for line in lines:
            # One method may be run in several lengths: each is a method of its own.
            longer = line["steps"] not in baseline_steps and line["method"] != BASELINE
            label = f"{line['method']} ({line['steps']} steps)" if longer else line["method"]
            named.setdefault(label, []).append(line)
        self.methods = {label: Method(label, found) for label, found in named.items()}
        self.device = lines[0]["device"]

    @property
    def baseline(self):
        return self.methods.get(BASELINE)

    @cached_property
    def target(self):
        """None where plain AdamW was not confirmed."""
        finals = self.baseline.values("final") if self.baseline else []
        return statistics.median(finals) if finals else None

    def reached(self, runs):
        return sum(way(line, self.target) is not None for line in runs.values())

    def baseline_way(self, seed):
        line = self.baseline.confirmed.get(seed) or self.baseline.at(self.baseline.rate).get(seed)
        if line is None:
            return None
        last = line["curve"][-1]
        return way(line, self.target) or {clock: last[place] for clock, place in CLOCKS.items()}

    def speed_ups(self, runs, clock):
        """{seed: AdamW's way / its own}, for the seeds that AdamW has."""
        found = {}
        for seed, line in runs.items():
            theirs, own = self.baseline_way(seed), way(line, self.target)
            if theirs is not None:
                found[seed] = theirs[clock] / own[clock] if own else 0.0
        return found


def arenas_of(lines):
    return [Arena(name, [line for line in lines if line["arena"] == name])
            for name in dict.fromkeys(line["arena"] for line in lines)]
