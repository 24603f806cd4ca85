"""The events of a trace, as docs/trace.md describes them; those that no reader here needs are left
out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from leapverify.json_lines import Fields, read_lines

#: Newest schema that is read.
TRACE_SCHEMA = 2

REGIMES = ("chaotic", "transition", "stable")
OUTCOMES = ("committed", "rejected", "shadow", "rate_only")
LOOK_OUTCOMES = ("better", "not_shown", "slowed_down", "went_back")


@dataclass(frozen=True)
class Settings:
    """What a run was begun or resumed with: the events `start` and `resume`."""

    step: int
    planned_steps: int
    step_cost: float
    options: Fields

    @property
    def enabled(self) -> bool:
        return self.options.flag("enabled")

    @property
    def is_free(self) -> bool:
        """Whether the learning rate is free: nothing is tried, the run may be looked at."""
        return self.enabled and self.options.has("rate.free") and self.options.flag("rate.free")

    @property
    def chance_of_one(self) -> float | None:
        """The chance of accepting one candidate of no gain, where the rule bounds it."""
        if self.options.text("verification.rule") != "sequential":
            return None
        portfolio = self.options.text("predictor") == "portfolio"
        members = len(self.options.items("portfolio")) if portfolio else 1
        return self.options.number("verification.alpha") / members


@dataclass(frozen=True)
class Observation:
    step: int
    regime: str
    tries: bool
    #: Why no try is made; empty where one is.
    reason: str
    probe_loss: float | None
    signal: float | None


@dataclass(frozen=True)
class Candidate:
    step: int
    #: Negative: steps back.
    horizon: int
    verdict: str
    reason: str
    predictor: str | None
    #: Sequences that losses were compared on; 0 where they were not.
    pairs: int
    reference_loss: float
    candidate_loss: float

    @property
    def gain(self) -> float:
        """In nats, on the sequences that it was judged by."""
        return self.reference_loss - self.candidate_loss


@dataclass(frozen=True)
class Leap:
    step: int
    outcome: str
    #: None where it was rejected.
    horizon: int | None
    forwards: int
    gate_passes: float
    gain: float | None
    gain_lower_bound: float | None
    steps_saved: float | None


@dataclass(frozen=True)
class Look:
    """At a run whose learning rate is free."""

    step: int
    outcome: str
    #: Of the best average before; 0: where the run began.
    best_step: int
    reason: str
    #: Sequences that losses were compared on; 0 where they were not.
    pairs: int
    #: At the average of then, and at the best one before.
    loss: float
    best_loss: float
    forwards: int
    gate_passes: float

    @property
    def loss_after(self) -> float:
        """Where the run went on from."""
        return self.best_loss if self.outcome == "went_back" else self.loss


@dataclass(frozen=True)
class RateChange:
    step: int
    before: float
    after: float
    reason: str
    #: In force, where the rate is free.
    rate: float | None = None


@dataclass(frozen=True)
class Failure:
    step: int
    reason: str
    forwards: int
    #: Leaps are off for the rest of the run.
    off: bool


Event = Union[Settings, Observation, Candidate, Leap, Look, RateChange, Failure]


def _settings(line: Fields) -> Settings:
    schema = line.count("schema")
    if schema > TRACE_SCHEMA:
        raise line.error(
            f"a trace of schema {schema}; this version of leapverify reads up to {TRACE_SCHEMA}")
    return Settings(line.count("step"), line.count("planned_steps"), line.number("step_cost"),
                    line.group("options"))


def _observation(line: Fields) -> Observation:
    tries = line.choice("action", ("try", "wait")) == "try"
    return Observation(line.count("step"), line.choice("regime", REGIMES), tries,
                       "" if tries else line.text("reason"), line.optional_number("probe_loss"),
                       line.optional_number("signal"))


def _candidate(line: Fields) -> Candidate:
    compared = line.has("pairs")
    return Candidate(line.count("step"), line.count("horizon"), line.text("verdict"),
                     line.text("reason"),
                     line.text("predictor") if line.has("predictor") else None,
                     line.count("pairs") if compared else 0,
                     line.number("reference_loss") if compared else math.nan,
                     line.number("candidate_loss") if compared else math.nan)


def _leap(line: Fields) -> Leap:
    outcome = line.choice("outcome", OUTCOMES)
    return Leap(line.count("step"), outcome,
                None if outcome == "rejected" else line.count("horizon"), line.count("forwards"),
                line.number("gate_passes"), line.optional_number("gain"),
                line.optional_number("gain_lower_bound"), line.optional_number("steps_saved"))


def _look(line: Fields) -> Look:
    compared = line.has("pairs")
    return Look(line.count("step"), line.choice("outcome", LOOK_OUTCOMES), line.count("best_step"),
                line.text("reason"), line.count("pairs") if compared else 0,
                line.number("loss") if compared else math.nan,
                line.number("best_loss") if compared else math.nan, line.count("forwards"),
                line.number("gate_passes"))


def _rate(line: Fields) -> RateChange:
    return RateChange(line.count("step"), line.number("from"), line.number("to"),
                      line.text("reason"), line.optional_number("rate"))


def _failure(line: Fields) -> Failure:
    return Failure(line.count("step"), line.text("reason"), line.count("forwards"),
                   line.flag("off"))


_READERS: Mapping[str, Callable[[Fields], Event]] = {
    "start": _settings,
    "resume": _settings,
    "observation": _observation,
    "candidate": _candidate,
    "leap": _leap,
    "look": _look,
    "rate": _rate,
    "failure": _failure,
}


def read_trace(path: Path) -> list[Event]:
    """Raises FileError."""
    events: list[Event] = []
    for line in read_lines(path):
        kind = line.text("event")
        if not events and kind not in ("start", "resume"):
            raise line.error(f'a trace begins with the event "start", not "{kind}"')
        if kind in _READERS:
            events.append(_READERS[kind](line))
    return events
