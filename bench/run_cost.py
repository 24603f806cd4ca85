"""What the presets verified and auto cost a run, and what they gain one that begins far too slowly.

Usage: run_cost.py PATH_OF_LEAPVERIFY TEXT FOLDER [--device cpu|cuda] [--rounds 6] [--smoke]

The model of closed_loop.py, on a CPU with 1000 steps of 32 sequences on one thread. First the bare optimizer and both
presets in turns at the tuned learning rate: seconds and processor time of the whole runs. There every try of verified is
rejected, and it ends with the bare run's weights. Then all at a sixteenth of it: how many steps the presets take to the
bare run's final validation loss. One line of FOLDER/cost.jsonl a run; runs that ended are not repeated, so it can be
stopped at any time and called again. report.py makes a table of them. Ends with 1
where a run failed, or not all was rejected.
"""

import argparse
import json
import pathlib
import resource
import sys

from closed_loop import AUTO, VERIFIED, checked_lines, settings_of, train
from runs_in_parts import write_lines

# By device: the best of closed_loop.py's rates for the bare optimizer; on a GPU that is a guess.
TUNED = {"cpu": 8e-3, "cuda": 2e-3}
SETTINGS = {"cpu": {"run.steps": 1000, "batch.sequences": 32, "schedule.warmup": 100},
            "smoke": {}, "cuda": {}}
# Nothing is tried, so that it ends with the bare run's weights.
SMOKE_OF_VERIFIED = {"leapverify.max_overhead": 0.001}
# No validation but the last.
OF_ROUNDS = {"run.eval_every": 0, "run.eval_average": "false"}


def runs_of(rounds, tuned):
    """(variant, learning rate, round or None): each round begins with another."""
    names = ["bare", VERIFIED, AUTO]
    for number in range(rounds):
        first = number % len(names)
        yield from ((name, tuned, number) for name in names[first:] + names[:first])
    yield from ((name, tuned / 16, None) for name in names)


def key_of(line):
    return line["variant"], line["lr"], line.get("round")


def measured_run(program, text, scale, name, rate, number):
    settings = {**SETTINGS[scale], **(OF_ROUNDS if number is not None else {}),
                **(SMOKE_OF_VERIFIED if scale == "smoke" and name == VERIFIED else {})}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = train(program, text, scale, name, rate, 0, **settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the whole program, reading the text and the last validation included, on both sides alike.
    line["cpu_seconds"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)
    return line if number is None else {**line, "round": number}


def complaints(lines):
    """Why these are not runs in which every try was rejected and verified ended as the bare optimizer did."""
    found = [f"{line['variant']} at {line['lr']:g}: {line['failed']}" for line in lines if "failed" in line]
    alike = [line for line in lines if "round" in line and "failed" not in line and line["variant"] != AUTO]
    if any(line["accepted"] > 0 for line in alike) or len({line["final"] for line in alike}) > 1:
        found.append(f"at {alike[0]['lr']:g} not everything was rejected, or both did not end alike: no measure of the cost")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--smoke", action="store_true", help="a tiny model and a few steps: whether it runs")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if arguments.smoke and arguments.device != "cpu":
        parser.error("--smoke is for the CPU")
    scale = "smoke" if arguments.smoke else arguments.device
    steps = {**settings_of(scale), **SETTINGS[scale]}["run.steps"]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    log = arguments.folder / "cost.jsonl"
    # One that failed is tried again.
    lines = [line for line in checked_lines(log, arguments.text, scale) if "failed" not in line]
    if any((line.get("device"), line.get("steps")) != (arguments.device, steps) for line in lines):
        parser.error(f"{log} holds other runs than of {steps} steps on {arguments.device}: name another folder")
    done = set(map(key_of, lines))
    write_lines(log, lines)
    wanted = [run for run in runs_of(arguments.rounds, TUNED[arguments.device]) if run not in done]
    for number, run in enumerate(wanted, 1):
        line = measured_run(arguments.program, arguments.text, scale, *run)
        lines.append(line)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{number} of {len(wanted)}: {line['variant']} at {line['lr']:g}: {line.get('final', line.get('failed'))}",
              flush=True)
    found = complaints(lines)
    for complaint in found:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
