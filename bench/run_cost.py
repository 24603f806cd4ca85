"""What the defaults cost a run in which nothing verifies, and what they gain one that begins far too slowly.

Usage: run_cost.py PATH_OF_LEAPVERIFY TEXT [--rounds 3]

The model and the runs of closed_loop.py, on one thread. First the bare optimizer and the defaults in turns at the tuned
learning rate, where every try is rejected and both end with the same weights: seconds and processor time of the whole
runs; it fails where they do not. Then both at a sixteenth of it: how many steps the defaults take to the bare run's
final validation loss, with their weights and with the running average of these. Prints one JSON object a run, and a
summary each.
"""

import argparse
import json
import resource
import statistics

from closed_loop import AUTO, SETTINGS, first_below, train

TUNED = 8e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    def run(name, rate, **settings):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = train(arguments.program, arguments.text, "cpu", name, rate, 0, settings)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of the whole program, reading the text and the last validation included, on both sides alike.
        line["cpu_seconds"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)
        print(json.dumps(line), flush=True)
        return line

    ratios = {"train_seconds": [], "cpu_seconds": []}
    for number in range(arguments.rounds):
        # No validation but the last, and whoever comes second in one round comes first in the next.
        names = ["bare", AUTO] if number % 2 == 0 else [AUTO, "bare"]
        pair = {name: run(name, TUNED, **{"run.eval_every": 0, "run.eval_average": "false"}) for name in names}
        for clock in ratios:
            ratios[clock].append(pair[AUTO][clock] / pair["bare"][clock])
        if pair[AUTO]["accepted"] > 0 or pair[AUTO]["final"] != pair["bare"]["final"]:
            raise SystemExit("not a run in which everything was rejected and both ended alike")
    print(json.dumps({"lr": TUNED, "rounds": arguments.rounds,
                      "time_ratios": [round(ratio, 5) for ratio in ratios["train_seconds"]],
                      "median_time_ratio": round(statistics.median(ratios["train_seconds"]), 5),
                      "cpu_time_ratios": [round(ratio, 5) for ratio in ratios["cpu_seconds"]],
                      "median_cpu_time_ratio": round(statistics.median(ratios["cpu_seconds"]), 5),
                      "tries": pair[AUTO]["tries"], "booked_cost_steps": pair[AUTO]["cost_steps"]}), flush=True)

    slow = TUNED / 16
    bare, auto = run("bare", slow), run(AUTO, slow)
    reached = [first_below(auto[curve], bare["final"]) for curve in ("curve", "average_curve")]
    shares = [step / SETTINGS["run.steps"] if step is not None else None for step in reached]
    print(json.dumps({"lr": slow, "bare_final": bare["final"], "auto_final": auto["final"],
                      "booked_cost_steps": auto["cost_steps"], "steps_to_bare_final": reached[0],
                      "share_of_its_steps": shares[0], "average_steps_to_bare_final": reached[1],
                      "average_share_of_its_steps": shares[1]}), flush=True)


if __name__ == "__main__":
    main()
