"""The tables of a report as rows of text, every number of them computed from the files of the
runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leapverify.comparison import Level, average_curve, held_out_curve
from leapverify.ledger import LOOK_VERDICTS, Ledger, Try, ledger_of
from leapverify.runs import Run
from leapverify.trace_events import Candidate, Failure, Look

NONE = "–"


@dataclass(frozen=True)
class Row:
    name: str
    values: Sequence[str]


def count(number: float) -> str:
    """Thousands apart."""
    return f"{number:,.0f}".replace(",", "\u202f")


def loss(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else NONE


def duration(seconds: float | None) -> str:
    """As the trainer prints it: minutes and seconds, or with hours."""
    if seconds is None:
        return NONE
    total = round(seconds)
    minutes, rest = total // 60 % 60, total % 60
    return f"{total // 3600}:{minutes:02}:{rest:02}" if total >= 3600 else f"{minutes}:{rest:02}"


def _last(values: Sequence[float]) -> str:
    return loss(values[-1]) if values else NONE


def _steps(run: Run) -> str:
    if run.finished or not run.planned_steps:
        return count(run.steps)
    return f"{count(run.steps)} of {count(run.planned_steps)}, not finished"


def _lowest(run: Run) -> str:
    curve = held_out_curve(run)
    if not curve.steps:
        return NONE
    best = min(curve.losses)
    return f"{loss(best)} at step {count(curve.steps[curve.losses.index(best)])}"


def result_rows(runs: Sequence[Run]) -> list[Row]:
    rows = [
        Row("steps", [_steps(run) for run in runs]),
        Row("time", [duration(run.seconds) for run in runs]),
        Row("training loss at the end", [_last([line.loss for line in run.training])
                                         for run in runs]),
        Row("held-out loss at the end", [_last(held_out_curve(run).losses) for run in runs]),
        Row("lowest held-out loss", [_lowest(run) for run in runs]),
        Row("at the average of the weights", [_last(average_curve(run).losses) for run in runs]),
    ]
    return [row for row in rows if set(row.values) != {NONE}]


def _accepted(ledger: Ledger) -> str:
    parts = [(ledger.committed, "leaps committed"), (ledger.raised, "rate raised")]
    words = ", ".join(f"{meaning} {count(number)}" for number, meaning in parts if number)
    return f"{count(ledger.accepted)} ({words})" if words else count(ledger.accepted)


def _false_accepts(ledger: Ledger) -> str:
    if ledger.false_accepts is None:
        return "not bounded by the rule"
    bound = f"at most {ledger.false_accepts:.2f}"
    return bound if ledger.gate_passes <= 1 else bound + " if all gate sequences had been fresh"


def _forwards(ledger: Ledger) -> str:
    words = " and ".join(["tries"] * ledger.has_tries + ["looks"] * ledger.has_looks)
    return (f"{count(ledger.forwards)} ({count(ledger.probe_forwards)} probes, "
            f"{count(ledger.try_forwards)} {words})")


def _cap(ledger: Ledger) -> str:
    if math.isinf(ledger.budget):
        return f"{count(ledger.counted_forwards)}, no cap"
    share = 100 * ledger.counted_forwards / ledger.budget if ledger.budget else 0.0
    return (f"{count(ledger.counted_forwards)} of {count(math.floor(ledger.budget))} forwards "
            f"({share:.0f} %)")


def _time_spent(ledger: Ledger, run: Run) -> str:
    seconds = run.seconds
    return NONE if seconds is None else f"about {duration(ledger.overhead * seconds)}"


def _rate_at_end(ledger: Ledger, run: Run) -> str:
    # A free one is no factor on a schedule.
    free = run.training[-1].rate if ledger.is_free and run.training else ledger.free_rate
    if free is not None:
        return f"{free:.3g}"
    return f"{ledger.rate_scale:.3g} × its schedule"


def _waits(ledger: Ledger) -> str:
    waits = sorted(ledger.waits.items(), key=lambda item: -item[1])
    return "; ".join(f"{count(number)} {reason}" for reason, number in waits) or NONE


#: Names of rows, and what they say of a run.
_Rows = Sequence[tuple[str, Callable[[Ledger, Run], str]]]

#: In runs that try candidates, and in those whose learning rate is free.
_OF_TRIES: _Rows = (
    ("observations", lambda ledger, _: count(ledger.observations)),
    ("tries", lambda ledger, _: count(ledger.tries)),
    ("candidates", lambda ledger, _: count(ledger.candidates)),
    ("tries accepted", lambda ledger, _: _accepted(ledger)),
    ("looks back that lowered the rate", lambda ledger, _: count(ledger.lowered)),
    ("false accepts expected", lambda ledger, _: _false_accepts(ledger)),
    ("steps saved by committed leaps", lambda ledger, _: f"{ledger.steps_saved:.1f}"),
    ("outside the cap, for they raised the rate",
     lambda ledger, _: count(ledger.raising_forwards)),
    ("observations without a try", lambda ledger, _: _waits(ledger)),
)
_OF_LOOKS: _Rows = (
    ("looks at held-out loss", lambda ledger, _: count(ledger.looks)),
    ("looks after which it went back", lambda ledger, _: count(ledger.went_back)),
)
_OF_ALL: _Rows = (
    ("failures", lambda ledger, _: count(ledger.failures)),
    ("forwards of one sequence", lambda ledger, _: _forwards(ledger)),
    ("the same in training steps", lambda ledger, _: f"{ledger.cost_in_steps:.1f}"),
    ("the same in time", _time_spent),
    ("share of all cost", lambda ledger, _: f"{100 * ledger.overhead:.2f} %"),
    ("counted against the cap", lambda ledger, _: _cap(ledger)),
    ("learning rate at the end", _rate_at_end),
    ("switched off during the run", lambda ledger, _: ledger.off_reason or NONE),
)


def ledger_rows(runs: Sequence[Run]) -> list[Row]:
    """Empty where no run had LeapVerify on."""
    ledgers = [ledger_of(run) if run.leaps_on else None for run in runs]
    if not any(ledgers):
        return []
    parts: Sequence[tuple[Callable[[Ledger], bool], _Rows]] = (
        (lambda ledger: ledger.has_tries, _OF_TRIES), (lambda ledger: ledger.has_looks, _OF_LOOKS),
        (lambda _: True, _OF_ALL))
    rows = [Row(name, [value(ledger, run) if ledger and is_of(ledger) else NONE
                       for ledger, run in zip(ledgers, runs)])
            for is_of, entries in parts for name, value in entries]
    return [row for row in rows if set(row.values) != {NONE}]


#: Of each run in the table of equal losses.
REACHED_COLUMNS = ("steps + cost", "time", "speed")


def _reached(level: Level, index: int, reference: int) -> list[str]:
    own, other = level.reached[index], level.reached[reference]
    if own is None:
        return ["not reached", "", ""]
    spent = own.step + own.cost_in_steps
    cost = f" + {own.cost_in_steps:.0f}" if own.cost_in_steps >= 0.5 else ""
    speed = f"{other.step / spent:.2f}×" if other and spent and index != reference else ""
    return [f"{count(own.step)}{cost}", duration(own.seconds), speed]


def level_rows(levels: Sequence[Level], reference: int) -> list[Row]:
    """The loss, and REACHED_COLUMNS for each run."""
    return [Row(level.meaning, [loss(level.loss),
                                *(cell for index in range(len(level.reached))
                                  for cell in _reached(level, index, reference))])
            for level in levels]


LEAP_COLUMNS = ("step", "regime", "verdict", "learning rate ×", "steps saved", "forwards",
                "horizon", "gain, nats", "sequences", "reason")


def _of_candidates(one: Try, value: Callable[[Candidate], str]) -> str:
    return "\n".join(value(candidate) for candidate in one.candidates) or NONE


def _horizon(candidate: Candidate) -> str:
    where = f"{candidate.horizon:+d}".replace("-", "−")
    return f"{where} {candidate.predictor}" if candidate.predictor else where


def _gain(candidate: Candidate) -> str:
    return f"{candidate.gain:+.4f}".replace("-", "−") if candidate.pairs else NONE


def _rate(one: Try) -> str:
    change = one.raised or one.lowered
    return f"{change.before:.3g} → {change.after:.3g}" if change else NONE


def _reasons(one: Try) -> str:
    lines = [f"{candidate.verdict}: {candidate.reason}" for candidate in one.candidates]
    return "\n".join([*lines, one.failure.reason] if one.failure else lines) or one.reason


def _saved(one: Try) -> str:
    saved = one.leap.steps_saved if one.leap else None
    return NONE if saved is None else f"{saved:.1f}"


LOOK_COLUMNS = ("step", "verdict", "best so far", "loss there", "loss now", "sequences", "forwards",
                "reason")


def _look_row(event: Look | Failure) -> Sequence[str]:
    if isinstance(event, Failure):
        return (count(event.step), "failure", NONE, NONE, NONE, NONE, count(event.forwards),
                event.reason)
    losses = [f"{loss:.4f}" if math.isfinite(loss) else NONE for loss in (event.best_loss, event.loss)]
    best = f"step {count(event.best_step)}" if event.best_step else "the start"
    return (count(event.step), LOOK_VERDICTS[event.outcome], best, *losses, count(event.pairs),
            count(event.forwards), event.reason)


def look_rows(looks: Sequence[Look | Failure]) -> list[Sequence[str]]:
    """A row for each look, and for each that failed."""
    return [_look_row(event) for event in looks]


def leap_rows(tries: Sequence[Try]) -> list[Sequence[str]]:
    """A row for each try, with a line for each candidate in the cells that speak of those."""
    return [(count(one.step), one.regime, one.verdict, _rate(one), _saved(one),
             count(one.forwards), _of_candidates(one, _horizon), _of_candidates(one, _gain),
             _of_candidates(one, lambda own: count(own.pairs)), _reasons(one)) for one in tries]
