"""Where a run ends from any learning rate: LeapVerify, its base optimizer alone, and the rivals a user would pick.

Usage: any_rate.py FOLDER [--device cpu|cuda] [--arenas pretrain digits ...] [--methods alone leapverify ...] [--seeds 3]
                   [--apart 2|4] [--variant NAME={"rate.start": 0.0625} ...] [--text FOLDER] [--finetune-text FOLDER]
                   [--seconds N] [--jobs 2] [--smoke]

Needs what time_to_target.py needs, and scikit-learn. In each arena (bench/harness/arenas.py) the base optimizer alone is
tuned first: rate × warm-up at seed 0 (digits, which scatter, at three), factors of 2 apart, until the best rate of each
warm-up has worse neighbours on both sides; the best of all is run at --seeds others. Arenas called NAME-SCHEDULE tune it
with other schedules, and those of pretrain run the methods there too. Then each method is run from 1/256 to 8 times the
rate that is best at the arena's own warm-up. Prodigy, D-Adaptation and prodigy-plus-schedule-free find their rate
themselves and are run once a seed. A --variant is LeapVerify with other options. One line of FOLDER/any_rate.jsonl a run;
what is there is not run again, so it can be stopped at any time and called again. bench/report.py renders the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from any_rate_runs import best_of, own_rate, tuning
from runs_in_parts import Line, RunsInParts, parse, parser_of

KEY = ("arena", "method", "variant", "rate", "warmup", "seed", "purpose")
WARMUPS = (0.0, 0.1, 0.3)
#: Rates from 1/256 to 8 times the best, by how many times they are apart.
MULTIPLES = {2: tuple(2.0**k for k in range(-8, 4)), 4: (*(2.0**k for k in range(-8, 4, 2)), 8.0)}
#: Where grids begin, as a multiple of what people start with, and how far they may grow on one side.
GUESS = 16
MOST_WIDENINGS = 8
METHODS = ("alone", "leapverify", "leapverify-free", "leapverify-auto", "schedulefree", "mechanic", "prodigy",
           "dadaptation", "prodigy-schedulefree")
ONCE = ("prodigy", "dadaptation", "prodigy-schedulefree")
#: Those that know AdamW only run in its arenas.
OF_ANY_OPTIMIZER = ("alone", "leapverify", "leapverify-free", "leapverify-auto")
#: What the parts of the default are worth, at one seed and fewer rates.
ABLATIONS: dict[str, Line] = {"leap": {"on_accept": "leap"}, "both": {"on_accept": "both"},
                              "current": {"reference": "current"}, "strict": {"verification": {"rule": "strict"}}}
ABLATED = tuple(2.0**k for k in (-6, -3, 0, 2))
SMOKE_STEPS = 48


@dataclass(frozen=True)
class Plan:
    steps: int
    lowest_rate: float
    warmup: float
    seeds: int = 3
    tuning_seeds: tuple[int, ...] = (0,)
    warmups: tuple[float, ...] = WARMUPS
    multiples: tuple[float, ...] = MULTIPLES[2]
    widenings: int = MOST_WIDENINGS
    variants: dict[str, Line] = field(default_factory=dict)


def key_of(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in KEY)


def wanted(lines: list[Line], arena: str, methods: list[str], plan: Plan) -> list[Line]:
    """The runs that can be started now in an arena, done ones included; the most telling first."""
    mine = [line for line in lines if line["arena"] == arena]

    def job(method: str, rate: float, seed: int, purpose: str, warmup: float = plan.warmup, variant: str = "",
            options: Line | None = None) -> Line:
        made = {"arena": arena, "method": method, "variant": variant, "rate": rate, "warmup": warmup, "seed": seed,
                "purpose": purpose, "steps": plan.steps}
        return {**made, "options": options} if options else made

    tuned = tuning(mine, len(plan.tuning_seeds))
    grids = {warmup: grid(tuned.get(warmup, {}), plan) for warmup in plan.warmups}
    jobs = [job("alone", rate, seed, "tune", warmup) for seed in plan.tuning_seeds for warmup, rates in grids.items()
            for rate in rates]
    known = {key_of(line) for line in mine}
    own = own_rate(tuned, plan.warmup)
    if any(key_of(one) not in known for one in jobs) or own is None:
        return jobs
    best = best_of(tuned)
    # Not at the seeds that chose it.
    jobs += [job("alone", best["rate"], seed, "confirm", best["warmup"]) for seed in range(1, plan.seeds + 1)]
    for seed in range(1, plan.seeds + 1):
        for method in methods:
            multiples = (1.0 / own,) if method in ONCE else plan.multiples
            jobs += [job(method, own * multiple, seed, "range") for multiple in multiples]
        for name, options in plan.variants.items():
            jobs += [job("leapverify", own * multiple, seed, "range", variant=name, options=options)
                     for multiple in plan.multiples]
    if "leapverify" in methods:
        jobs += [job("leapverify", own * multiple, 1, "ablation", variant=name, options=options)
                 for name, options in ABLATIONS.items() for multiple in ABLATED if multiple in plan.multiples]
    return jobs


def grid(finals: dict[float, float | None], plan: Plan) -> list[float]:
    """Rates that the base optimizer is to be tried at with a warm-up, given its final losses there: three, and more on the
    side where the best one stands at the edge."""
    guess = GUESS * plan.lowest_rate
    rates = [guess / 2, guess, guess * 2]
    for _ in range(plan.widenings):
        if any(rate not in finals for rate in rates):
            break
        ended = [rate for rate in rates if finals[rate] is not None]
        best = min(ended, key=lambda rate: finals[rate]) if ended else rates[0]
        if best == rates[0]:
            rates.insert(0, rates[0] / 2)
        elif best == rates[-1]:
            rates.append(rates[-1] * 2)
        else:
            break
    return rates


def variant_of(text: str) -> tuple[str, Line]:
    name, _, options = text.partition("=")
    try:
        found = json.loads(options)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"'{text}': expected NAME={{\"key\": value}}, {error}") from None
    if not name or not isinstance(found, dict) or name in ABLATIONS:
        raise argparse.ArgumentTypeError(f"'{text}': expected a new name and an object of options")
    return name, found


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    from harness.arenas import ARENAS
    from harness.train import make_bases

    parser = parser_of(__doc__, list(ARENAS), METHODS, seeds=3)
    parser.add_argument("--variant", action="append", type=variant_of, default=[], metavar="NAME=JSON")
    parser.add_argument("--apart", type=int, choices=MULTIPLES, default=2, help="factor from one starting rate to the next")
    arguments = parse(parser)
    variants = dict(arguments.variant)
    plans = {}
    methods = {name: [method for method in arguments.methods
                      if ARENAS[name].has_methods
                      and (ARENAS[name].recipe.optimizer == "adamw" or method in OF_ANY_OPTIMIZER)]
               for name in arguments.arenas}
    for name in arguments.arenas:
        about = ARENAS[name]
        common = {"lowest_rate": about.lowest_rate, "warmup": about.recipe.warmup, "seeds": arguments.seeds,
                  "tuning_seeds": about.tuning_seeds, "variants": variants}
        plans[name] = (Plan(SMOKE_STEPS, **common, warmups=(about.recipe.warmup,), multiples=(0.125, 1.0), widenings=0)
                       if arguments.smoke else Plan(about.steps, **common, multiples=MULTIPLES[arguments.apart]))
    log = arguments.folder / "any_rate.jsonl"
    try:
        runs = RunsInParts(
            log, arguments, key_of,
            lambda lines: sorted((job for name, plan in plans.items() for job in wanted(lines, name, methods[name], plan)),
                                 key=lambda job: (job["purpose"] != "tune", job["seed"])))
    except ValueError as error:
        parser.error(str(error))
    others = {line["variant"] for line in runs.lines
              if line["variant"] in variants and line["options"] != variants[line["variant"]]}
    if others:
        parser.error(f"{log} holds runs of {', '.join(sorted(others))} with other options: name the variant otherwise")
    if any(line["device"] != arguments.device or line["steps"] not in {plan.steps for plan in plans.values()}
           for line in runs.lines if line["arena"] in plans):
        parser.error(f"{log} holds runs of another device or length: name another folder")
    make_bases(runs.size, [ARENAS[name] for name in plans], arguments.folder, runs.texts,
               SMOKE_STEPS if arguments.smoke else None)
    return 0 if runs.go() else 1


if __name__ == "__main__":
    sys.exit(main())
