"""What a run tried and what that cost, computed anew from the events of its trace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leapverify.runs import Run
from leapverify.trace_events import (
    Candidate,
    Event,
    Failure,
    Leap,
    Look,
    Observation,
    RateChange,
    Settings,
)

#: Verdicts on a try, those that changed the run first.
VERDICTS = ("leap committed", "rate raised", "rate lowered", "accepted, rate kept", "shadow", "rejected", "failure")
#: Those on a look, by its outcome.
LOOK_VERDICTS = {"went_back": "went back", "slowed_down": "slowed down", "not_shown": "not shown to be better",
                 "better": "better than before"}

# Reasons of rate events; any other change follows the schedule or the options.
_RAISED = "a candidate verified"
_LOWERED = "the weights have got worse"


@dataclass
class Try:
    """A try with all its candidates, from its observation to its end."""

    step: int
    regime: str
    candidates: list[Candidate] = field(default_factory=list)
    #: One of the two, once the try has ended.
    leap: Leap | None = None
    failure: Failure | None = None
    raised: RateChange | None = None
    lowered: RateChange | None = None

    @property
    def verdict(self) -> str:
        if self.leap is None:
            return "failure"
        if self.leap.outcome in ("committed", "shadow"):
            return "leap committed" if self.leap.outcome == "committed" else "shadow"
        if self.leap.outcome == "rate_only":
            return "rate raised" if self.raised else "accepted, rate kept"
        return "rate lowered" if self.lowered else "rejected"

    @property
    def accepted(self) -> bool:
        return self.leap is not None and self.leap.outcome != "rejected"

    @property
    def reason(self) -> str:
        """Of the verdict: that of the winner, else of the last candidate."""
        if self.failure:
            return self.failure.reason
        deciding = self.candidates
        if self.leap and self.leap.horizon is not None:
            deciding = [one for one in self.candidates
                        if one.horizon == self.leap.horizon and one.verdict == "accepted"]
        return deciding[-1].reason if deciding else "no candidate could be paid for"

    @property
    def forwards(self) -> int:
        end = self.leap or self.failure
        return end.forwards if end else 0

    def is_paid_by_its_raise(self, growth: float) -> bool:
        """Whether the cap does not count it: it raised the rate by a full factor."""
        return self.raised is not None and self.raised.after >= self.raised.before * growth * (1 - 1e-12)


def tries_of(events: Iterable[Event]) -> list[Try]:
    """The tries that have ended, in order."""
    tries: list[Try] = []
    open_try: Try | None = None
    regime = "transition"
    for event in events:
        if isinstance(event, Observation):
            regime = event.regime
            open_try = Try(event.step, regime) if event.tries else None
        elif isinstance(event, RateChange):
            if event.reason == _LOWERED and open_try:
                open_try.lowered = event
            elif event.reason == _RAISED and tries:
                tries[-1].raised = event
        elif isinstance(event, Candidate) and open_try:
            open_try.candidates.append(event)
        elif open_try and isinstance(event, (Leap, Failure)):
            if isinstance(event, Leap):
                open_try.leap = event
            else:
                open_try.failure = event
            tries.append(open_try)
            open_try = None
    return tries


def looks_of(events: Iterable[Event]) -> list[Look | Failure]:
    """The looks at a run whose learning rate was free, and what failed there."""
    looks: list[Look | Failure] = []
    is_free = False
    for event in events:
        if isinstance(event, Settings):
            is_free = event.is_free
        elif isinstance(event, Look) or (is_free and isinstance(event, Failure)):
            looks.append(event)
    return looks


@dataclass(frozen=True)
class Ledger:
    """Costs are in forward passes of one held-out sequence."""

    steps: int
    step_cost: float
    observations: int
    #: Reasons of observations without a try, and how many.
    waits: Mapping[str, int]
    tries: int
    accepted: int
    committed: int
    raised: int
    lowered: int
    failures: int
    candidates: int
    #: At a run whose learning rate is free, and after how many of them it went back.
    looks: int
    went_back: int
    #: How it ended; before it was resumed it may have been otherwise.
    is_free: bool
    #: In force at the end, where it was free and is known.
    free_rate: float | None
    steps_saved: float
    probe_forwards: int
    #: Of looks too.
    try_forwards: int
    #: Those of tries that raised the rate, which the cap does not count.
    raising_forwards: int
    #: None where the rule does not bound them.
    false_accepts: float | None
    gate_passes: float
    #: Forward passes that the cap allows; infinite without a cap.
    budget: float
    #: Of the learning rate on its schedule, at the end.
    rate_scale: float
    #: Why leaps were switched off; empty where they were not.
    off_reason: str

    @property
    def has_tries(self) -> bool:
        return self.tries > 0 or not self.is_free

    @property
    def has_looks(self) -> bool:
        return self.looks > 0 or self.is_free

    @property
    def forwards(self) -> int:
        return self.probe_forwards + self.try_forwards

    @property
    def cost_in_steps(self) -> float:
        return self.forwards / self.step_cost if self.forwards else 0.0

    @property
    def overhead(self) -> float:
        """Share of probes and tries in all cost of the run."""
        if self.forwards == 0:
            return 0.0
        return self.forwards / (self.forwards + self.steps * self.step_cost)

    @property
    def counted_forwards(self) -> int:
        return self.forwards - self.raising_forwards


def _probe_forwards(events: Iterable[Event], until: float = math.inf) -> int:
    probes = forwards = 0
    for event in events:
        if isinstance(event, Settings):
            probes = event.options.count("probes")
        elif isinstance(event, Observation) and event.probe_loss is not None:
            forwards += probes if event.step <= until else 0
    return forwards


def _end_forwards(events: Iterable[Event], until: float = math.inf) -> int:
    """Of tries and looks, and of observations that failed."""
    return sum(event.forwards for event in events
               if isinstance(event, (Leap, Look, Failure)) and event.step <= until)


def forwards_until(events: Sequence[Event], step: float) -> int:
    """Forward passes of probes and tries up to a step."""
    return _probe_forwards(events, step) + _end_forwards(events, step)


def _false_accepts(events: Iterable[Event]) -> float | None:
    total: float | None = None
    chance: float | None = None
    for event in events:
        if isinstance(event, Settings):
            chance = event.chance_of_one
            if chance is not None and total is None:
                total = 0.0
        elif isinstance(event, Candidate) and event.pairs > 0 and chance is not None:
            total = (total or 0.0) + chance
    return total


def _budget(settings: Settings, steps: int, saved: float) -> float:
    cap = settings.options.number("max_overhead")
    if math.isinf(cap):
        return math.inf
    share = settings.options.number("savings_share")
    return settings.step_cost * (cap * (settings.planned_steps or steps) + share * saved)


def ledger_of(run: Run) -> Ledger | None:
    """None for a run without a trace."""
    settings = run.settings
    if settings is None:
        return None
    events = run.events
    tries = tries_of(events)
    verdicts = Counter(one.verdict for one in tries)
    observations = [event for event in events if isinstance(event, Observation)]
    leaps = [event for event in events if isinstance(event, Leap)]
    looks = [event for event in events if isinstance(event, Look)]
    ended = [event for event in events if isinstance(event, (Leap, Look))]
    failures = [event for event in events if isinstance(event, Failure)]
    rates = [event for event in events if isinstance(event, RateChange)]
    growth = settings.options.number("rate.growth")
    saved = sum(one.steps_saved or 0.0 for one in leaps if one.outcome == "committed")
    return Ledger(
        steps=run.steps,
        step_cost=settings.step_cost,
        observations=len(observations),
        waits=Counter(event.reason for event in observations if not event.tries),
        tries=len(tries),
        accepted=sum(one.accepted for one in tries),
        committed=verdicts["leap committed"],
        raised=sum(one.raised is not None for one in tries),
        lowered=sum(one.lowered is not None for one in tries),
        failures=len(failures),
        candidates=sum(isinstance(event, Candidate) for event in events),
        looks=len(looks),
        went_back=sum(one.outcome == "went_back" for one in looks),
        is_free=settings.is_free,
        free_rate=rates[-1].rate if rates and settings.is_free else None,
        steps_saved=saved,
        probe_forwards=_probe_forwards(events),
        try_forwards=_end_forwards(events),
        raising_forwards=sum(one.forwards for one in tries if one.is_paid_by_its_raise(growth)),
        false_accepts=_false_accepts(events),
        gate_passes=ended[-1].gate_passes if ended else 0.0,
        budget=_budget(settings, run.steps, saved),
        rate_scale=rates[-1].after if rates else 1.0,
        off_reason=next((event.reason for event in failures if event.off), ""),
    )
