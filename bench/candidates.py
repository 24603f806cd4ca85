"""Thins the candidates of traces written with leapverify.trace_losses=true to what a repository can hold.

Usage: candidates.py EVERY TRACE... >CANDIDATES.jsonl. Every EVERY-th candidate that was evaluated, with its step,
horizon and losses, these rounded to 1e-5 nats.
"""

import json
import sys


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    every = int(sys.argv[1])
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            evaluated = [event for event in map(json.loads, file) if "reference_losses" in event]
        for event in evaluated[::every]:
            kept = {key: event[key] for key in ("event", "step", "horizon")}
            for key in ("reference_losses", "candidate_losses"):
                kept[key] = [round(loss, 5) for loss in event[key]]
            print(json.dumps(kept, separators=(",", ":")))


if __name__ == "__main__":
    main()
