"""What a report says first: its sentence and its few large numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leapverify.comparison import (
    Curve,
    Reached,
    comparable_to,
    held_out_curve,
    reached,
    reference_of,
)
from leapverify.ledger import ledger_of
from leapverify.runs import Run
from leapverify.tables import count, duration, loss


@dataclass(frozen=True)
class Tile:
    value: str
    meaning: str


@dataclass(frozen=True)
class Summary:
    sentence: str
    tiles: Sequence[Tile]


def _verification_tiles(run: Run) -> list[Tile]:
    ledger = ledger_of(run) if run.leaps_on else None
    if ledger is None:
        return [Tile("off", "LeapVerify")]
    cost = Tile(f"{100 * ledger.overhead:.1f} %", "of all cost for held-out losses")
    if ledger.is_free and ledger.looks == 0:
        return [Tile("free", "learning rate, never looked at"), cost]
    if ledger.is_free:
        back = {0: "never", 1: "once"}.get(ledger.went_back, f"{count(ledger.went_back)} times")
        looks = "look" if ledger.looks == 1 else "looks"
        return [Tile(count(ledger.looks), f"{looks} at held-out loss; went back {back}"), cost]
    return [Tile(f"{count(ledger.accepted)} of {count(ledger.tries)}", "tries accepted"), cost]


def _when(curve: Curve) -> str:
    """Without metrics a run was last scored when it was last observed or tried, which may be long before its end."""
    return "" if curve.kind == "validation" else f" at step {count(curve.steps[-1])}"


def _end_of(run: Run) -> str:
    curve = held_out_curve(run)
    if not curve.steps:
        return "no losses yet"
    return f"{curve.kind} loss {loss(curve.losses[-1])}{run.unit_after(' ')}{_when(curve)}"


def _state(run: Run) -> str:
    if run.finished or not run.planned_steps:
        return f"{count(run.steps)} steps"
    return f"{count(run.steps)} of {count(run.planned_steps)} steps"


def _of_one(run: Run) -> Summary:
    took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    curve = held_out_curve(run)
    tiles = [Tile(_state(run), f"done{took}"), *_verification_tiles(run)]
    if curve.steps:
        tiles.insert(0, Tile(loss(curve.losses[-1]), f"{curve.kind} loss{_when(curve)}{run.unit_after(', ')}"))
    return Summary(f"{_state(run)}{took}: {_end_of(run)}.", tiles)


def _time_words(reached: Reached, end: Reached) -> str:
    if reached.seconds is None or end.seconds is None:
        return ""
    return f", in {duration(reached.seconds)} instead of {duration(end.seconds)}"


def _of_two(reference: Run, best: Run) -> Summary:
    target = held_out_curve(reference).losses[-1]
    last = held_out_curve(best).losses[-1]
    words = f"the final loss of {reference.name}, {loss(target)}{reference.unit_after(' ')}"
    tiles = [Tile(loss(last), f"final loss of {best.name}"), *_verification_tiles(best)]
    own, other = reached(best, target), reached(reference, target)
    if own is None or other is None:
        return Summary(f"{best.name} does not reach {words}; it ends at {loss(last)}.", tiles)
    spent = own.step + own.cost_in_steps
    first = [Tile(f"{other.step / spent:.2f}×",
                  f"speed in steps to the final loss of {reference.name}, cost included"),
             Tile(f"{count(own.step)} + {own.cost_in_steps:.0f}",
                  f"steps and cost, in place of {count(other.step)} steps")]
    return Summary(f"{best.name} reaches {words}, after {count(own.step)} steps instead of "
                   f"{count(other.step)}{_time_words(own, other)}, and ends at {loss(last)}.",
                   first + tiles)


def _of_several(runs: list[Run]) -> Summary:
    index = reference_of(runs)
    others = [run for run in runs[:index] + runs[index + 1:] if comparable_to(run, runs[index])]
    if not others:
        return Summary("These runs have no held-out losses that compare.", [])
    return _of_two(runs[index], min(others, key=lambda run: held_out_curve(run).losses[-1]))


def summary_of(runs: list[Run]) -> Summary:
    return _of_one(runs[0]) if len(runs) == 1 else _of_several(runs)
