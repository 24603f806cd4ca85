"""Steps and time until a loss that the best tuned AdamW ends at: LeapVerify, AdamW and the rivals a user would pick.

Usage: time_to_target.py FOLDER [--device cpu|cuda] [--arenas pretrain finetune lora] [--methods adamw leapverify ...]
                         [--seeds 5] [--seconds N] [--jobs 2] [--smoke]

Needs the packages leapverify, schedulefree, prodigyopt, dadaptation and peft. Every method trains the same model from the
same weights on the same batches (bench/harness). It is tuned alike: a grid of eight learning rates over a range of 128,
factors of 2 apart, at seed 0, widened on the side where the best one stands at the edge; then its best rate at --seeds
other seeds. AdamW and LeapVerify are run at those seeds from the lowest rate too, which is what people start with. Decay
shortened: AdamW at its best rate, with the steps that LeapVerify needed for the target as its schedule.
One line of FOLDER/time_to_target.jsonl a run; what is there is not run again, so it can be stopped at any time and called
again, or told to stop by --seconds. A run that fails is a line that says why. bench/report.py renders the folder.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Line = dict[str, Any]
KEY = ("arena", "method", "rate", "seed", "purpose")
GRID_POINTS = 8
MOST_WIDENINGS = 3
# Long enough for a try.
SMOKE_STEPS = 48
SMOKE_POINTS = 2


def grid(arena: str, method: str, points: int) -> list[float]:
    from harness.methods import FREE_OF_RATE
    from harness.train import ARENAS

    lowest = 0.0625 if method in FREE_OF_RATE else ARENAS[arena]["lowest_rate"]
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
    from harness.methods import METHODS

    return job["purpose"] != "grid", list(METHODS).index(job["method"]), job["seed"], job["rate"]


def execute(job: Line) -> Line:
    """In a process of its own."""
    sys.path.insert(0, str(Path(__file__).parent))
    from harness.train import run

    return run(job)


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        from harness.train import ARENAS

        self.arguments = arguments
        self.folder: Path = arguments.folder
        self.log = self.folder / "time_to_target.jsonl"
        self.lines = [json.loads(text) for text in self.log.read_text().splitlines()] if self.log.exists() else []
        self.end = time.monotonic() + arguments.seconds
        self.plans = {arena: Plan(SMOKE_STEPS, arguments.seeds, SMOKE_POINTS, 0) if arguments.smoke
                      else Plan(about["steps"], arguments.seeds) for arena, about in ARENAS.items()}
        self.size = "smoke" if arguments.smoke else arguments.device

    def pending(self, taken: set[tuple[Any, ...]]) -> list[Line]:
        done = {key_of(line) for line in self.lines} | taken
        jobs = [job for arena in self.arguments.arenas for method in self.arguments.methods
                for job in wanted(self.lines, arena, method, self.plans[arena])]
        return sorted((job for job in jobs if key_of(job) not in done), key=order)

    def add(self, line: Line) -> None:
        self.lines.append(line)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        said = f"failed: {line['failed']}" if "failed" in line else f"{line['final']:.4f}"
        print(f"{len(self.lines)}: {line['arena']}, {line['method']} at {line['rate']:g}, seed {line['seed']}: {said}", flush=True)

    def go(self) -> None:
        """Keeps every worker busy until nothing is left or the time is over."""
        while self.pending(set()) and time.monotonic() < self.end:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(self.arguments.jobs, context) as pool:
                self._fill(pool)

    def _fill(self, pool: concurrent.futures.ProcessPoolExecutor) -> None:
        running: dict[concurrent.futures.Future[Line], Line] = {}
        while True:
            taken = {key_of(job) for job in running.values()}
            free = self.arguments.jobs - len(running)
            for job in self.pending(taken)[:free] if time.monotonic() < self.end else []:
                running[pool.submit(execute, {**job, "size": self.size, "folder": str(self.folder)})] = job
            if not running:
                return
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    self.add(future.result())
                except BrokenProcessPool:
                    # Whichever run it was: each of those under way is told, and the rest goes on in a new pool.
                    self.add({**job, "device": self.arguments.device, "failed": "its process was killed"})
                    for other in running.values():
                        self.add({**other, "device": self.arguments.device, "failed": "a run beside it was killed"})
                    return


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    from harness.methods import METHODS
    from harness.train import ARENAS, BASE, make_base

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--arenas", nargs="+", choices=list(ARENAS), default=list(ARENAS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a tiny model and a few steps: whether everything runs")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    if arguments.smoke and arguments.device != "cpu":
        parser.error("--smoke is for the CPU")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    others = {(line["device"], line["steps"]) for line in bench.lines if line["purpose"] == "grid"} - {
        (arguments.device, plan.steps) for plan in bench.plans.values()}
    if others:
        parser.error(f"{bench.log} holds runs of another device or length: name another folder")
    if set(arguments.arenas) != {"pretrain"}:
        make_base(bench.size, SMOKE_STEPS if arguments.smoke else BASE["steps"], arguments.folder)
    bench.go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
