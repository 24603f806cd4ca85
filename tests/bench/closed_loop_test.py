"""The closed-loop bench keeps a folder to one device and length, and goes on where it was; run_cost.py runs its runs.

Usage: closed_loop_test.py [unittest options]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).parents[2] / "bench"

# Stands in for the program: a run whose validation loss is its learning rate.
STAND_IN = """#!/bin/sh
while [ "$1" != --run ]; do shift; done
mkdir -p "$2"
for word; do case "$word" in optimizer.lr=*) rate="${word#*=}" ;; esac; done
printf '{"step": 1000, "seconds": 1, "validation_loss": %s}\\n' "$rate" >"$2/metrics.jsonl"
"""


class ClosedLoop(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.program = self.folder / "leapverify"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)

    def bench(self, *arguments):
        return subprocess.run([sys.executable, BENCH / "closed_loop.py", self.program, "text", self.folder, *arguments],
                              capture_output=True, text=True, timeout=120)

    def lines(self):
        return [json.loads(line) for line in (self.folder / "closed_loop.jsonl").read_text().splitlines()]

    def test_a_folder_is_of_one_device(self):
        self.assertEqual(self.bench("--device", "cuda").returncode, 0)
        lines = self.lines()
        self.assertEqual({line["device"] for line in lines}, {"cuda"})
        self.assertEqual([line["final"] for line in lines], [line["lr"] for line in lines])
        refused = self.bench("--device", "cpu")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("holds runs of {'device': 'cuda', 'steps': 1000, 'model': 'demo'}, "
                      "expected {'device': 'cpu', 'steps': 600, 'model': 'demo'}", refused.stderr)
        self.assertEqual(self.lines(), lines)

    def test_goes_on_where_it_was(self):
        self.assertEqual(self.bench("--device", "cpu").returncode, 0)
        first = self.lines()
        self.assertEqual(self.bench("--device", "cpu", "--grid", "best").returncode, 0)
        every = self.lines()
        self.assertEqual(every[:len(first)], first)
        runs = [(line["variant"], line["lr"], line["seed"]) for line in every]
        self.assertEqual(len(runs), len(set(runs)))
        self.assertGreater(len(every), len(first))

    def test_the_cost_is_of_two_runs_in_turns_and_of_two_slow_ones(self):
        result = subprocess.run([sys.executable, BENCH / "run_cost.py", self.program, "text", "--rounds", "2"],
                                capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual({line["steps"] for line in lines if "variant" in line}, {1000})
        variants = [line["variant"] for line in lines if "variant" in line]
        default = variants[1]
        self.assertEqual(variants, ["bare", default, default, "bare", "bare", default])
        self.assertEqual((lines[4]["rounds"], lines[4]["time_ratios"]), (2, [1, 1]))
        self.assertEqual((lines[-1]["lr"], lines[-1]["steps_to_bare_final"]), (5e-4, 1000))


if __name__ == "__main__":
    unittest.main()
