"""Steps and time until a loss that the best tuned AdamW ends at: LeapVerify, AdamW and the rivals a user would pick.

Usage: time_to_target.py FOLDER [--device cpu|cuda] [--arenas pretrain finetune lora] [--methods adamw leapverify ...]
                         [--seeds 5] [--text FOLDER] [--finetune-text FOLDER] [--seconds N] [--jobs 2] [--smoke]

Needs the packages leapverify, schedulefree, prodigyopt, dadaptation, mechanic-pytorch and peft. Every method trains the
same model from the same weights on the same batches (bench/harness). It is tuned alike: a grid of eight learning rates over a range of 128,
factors of 2 apart, at seed 0, widened on the side where the best one stands at the edge; then its best rate at --seeds
other seeds. AdamW and LeapVerify are run at those seeds from the lowest rate too, which is what people start with. Decay
shortened: AdamW at its best rate, with the steps that LeapVerify needed for the target as its schedule.
One line of FOLDER/time_to_target.jsonl a run; what is there is not run again, so it can be stopped at any time and called
again, or told to stop by --seconds. A run that fails is a line that says why. bench/report.py renders the folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs_in_parts import Line, RunsInParts, parse, parser_of

KEY = ("arena", "method", "rate", "seed", "purpose")
METHODS = ("adamw", "leapverify", "adamw+gate-data", "ema", "snoo", "lookahead", "schedulefree", "prodigy", "dadaptation",
           "mechanic", "muon", "leapverify-off", "adamw-decay-shortened")
GRID_POINTS = 8
MOST_WIDENINGS = 16
# Long enough for a try.
SMOKE_STEPS = 48
SMOKE_POINTS = 2


def grid(arena: str, method: str, points: int) -> list[float]:
    from harness.arenas import TEXT_ARENAS
    from harness.methods import FREE_OF_RATE

    lowest = 0.0625 if method in FREE_OF_RATE else TEXT_ARENAS[arena].lowest_rate
    return [lowest * 2**k for k in range(points)]


def key_of(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in KEY)


def of(lines: list[Line], arena: str, method: str, purpose: str) -> list[Line]:
    return [line for line in lines if (line["arena"], line["method"], line["purpose"]) == (arena, method, purpose)]


def best_rate(points: list[Line]) -> float | None:
    """The grid rate with the lowest final loss; None while all failed."""
    from time_to_target_runs import Method

    return Method("", points).rate


def widened(points: list[Line], most: int) -> float | None:
    """The next rate beyond an edge at which the best one stands; None where it has neighbours on both sides, or `most`
    rates were run."""
    known = sorted({line["rate"] for line in points})
    best = best_rate(points)
    if best is None or len(known) >= most:
        return None
    if best == known[0]:
        return best / 2
    return best * 2 if best == known[-1] else None


def tuned(lines: list[Line], arena: str, method: str) -> list[Line]:
    """The confirming runs at a method's best rate."""
    best = best_rate(of(lines, arena, method, "grid"))
    return [line for line in of(lines, arena, method, "confirm") if line["rate"] == best]


def target_of(lines: list[Line], arena: str) -> float | None:
    """The median final loss of tuned AdamW."""
    finals = [line["final"] for line in tuned(lines, arena, "adamw") if "final" in line]
    return statistics.median(finals) if finals else None


@dataclass(frozen=True)
class Plan:
    """How much is run of each method in an arena."""

    steps: int
    seeds: int = 5
    points: int = GRID_POINTS
    widenings: int = MOST_WIDENINGS


def wanted(lines: list[Line], arena: str, method: str, plan: Plan) -> list[Line]:
    """The runs that can be started now for a method in an arena, done ones included."""
    def job(rate: float, seed: int, purpose: str, count: int = plan.steps) -> Line:
        return {"arena": arena, "method": method, "rate": rate, "seed": seed, "purpose": purpose, "steps": count}

    if method == "adamw-decay-shortened":
        return [job(rate, seed, "confirm", count) for rate, seed, count in shortened(lines, arena)]
    if method == "leapverify-off":  # the same run as AdamW's, and so as long
        return [job(line["rate"], line["seed"], "confirm") for line in tuned(lines, arena, "adamw")]
    rates = grid(arena, method, plan.points)
    jobs = [job(rate, 0, "grid") for rate in rates]
    points = of(lines, arena, method, "grid")
    if len(points) < len(rates):
        return jobs
    jobs = [job(line["rate"], 0, "grid") for line in points]
    if (further := widened(points, plan.points + plan.widenings)) is not None:
        return [*jobs, job(further, 0, "grid")]
    # What people start with, beside what they could find.
    confirmed = {best_rate(points), *(rates[:1] if method in ("adamw", "leapverify") else [])} - {None}
    return jobs + [job(rate, seed, "confirm") for rate in sorted(confirmed) for seed in range(1, plan.seeds + 1)]


def shortened(lines: list[Line], arena: str) -> Iterator[tuple[float, int, int]]:
    """(rate, seed, steps) of AdamW with LeapVerify's steps to the target as its whole schedule, where it got there
    sooner."""
    from time_to_target_runs import way

    target = target_of(lines, arena)
    rate = best_rate(of(lines, arena, "adamw", "grid"))
    if target is None or rate is None:
        return
    for line in tuned(lines, arena, "leapverify"):
        reached = way(line, target) if "curve" in line else None
        if reached is not None and reached["steps"] < line["steps"]:
            yield rate, line["seed"], round(reached["steps"])


def order(job: Line) -> tuple[Any, ...]:
    """The most telling first: grids before seeds, AdamW and LeapVerify before the others."""
    return job["purpose"] != "grid", METHODS.index(job["method"]), job["seed"], job["rate"]


def runs_of(arguments: argparse.Namespace) -> RunsInParts:
    from harness.arenas import TEXT_ARENAS

    plans = {arena: Plan(SMOKE_STEPS, arguments.seeds, SMOKE_POINTS, 0) if arguments.smoke
             else Plan(about.steps, arguments.seeds) for arena, about in TEXT_ARENAS.items()}
    log = arguments.folder / "time_to_target.jsonl"
    runs = RunsInParts(
        log, arguments, key_of,
        lambda lines: sorted((job for arena in arguments.arenas for method in arguments.methods
                              for job in wanted(lines, arena, method, plans[arena])), key=order))
    others = {(line["device"], line["steps"]) for line in runs.lines if line["purpose"] == "grid"} - {
        (arguments.device, plan.steps) for plan in plans.values()}
    if others:
        raise ValueError(f"{log} holds runs of another device or length: name another folder")
    return runs


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    from harness.arenas import TEXT_ARENAS
    from harness.train import make_bases

    parser = parser_of(__doc__, list(TEXT_ARENAS), METHODS, seeds=5)
    arguments = parse(parser)
    try:
        runs = runs_of(arguments)
    except ValueError as error:
        parser.error(str(error))
    make_bases(runs.size, [TEXT_ARENAS[name] for name in arguments.arenas], arguments.folder, runs.texts,
               SMOKE_STEPS if arguments.smoke else None)
    return 0 if runs.go() else 1


if __name__ == "__main__":
    sys.exit(main())
