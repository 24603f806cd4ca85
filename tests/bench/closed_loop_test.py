"""The closed-loop bench says on which device a run was, and keeps a folder to one of them.

Usage: closed_loop_test.py [unittest options]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).parents[2] / "bench" / "closed_loop.py"

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
        return subprocess.run([sys.executable, BENCH, self.program, "text", self.folder, *arguments],
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
        self.assertIn("closed_loop.jsonl holds runs on cuda, expected cpu", refused.stderr)
        self.assertEqual(self.lines(), lines)

    def test_files_without_a_device_are_gone_on_with(self):
        old = {"variant": "bare", "lr": 3e-4, "seed": 0, "seconds": 1, "final": 2.5, "tries": 0, "cost_steps": 0,
               "rates": [], "curve": [[1000, 2.5]], "average_curve": []}
        (self.folder / "closed_loop.jsonl").write_text(json.dumps(old) + "\n")
        self.assertEqual(self.bench("--device", "cpu").returncode, 0)
        lines = self.lines()
        self.assertEqual(lines[0], old)
        self.assertEqual({line["device"] for line in lines[1:]}, {"cpu"})
        self.assertNotIn(("bare", 3e-4, 0), [(line["variant"], line["lr"], line["seed"]) for line in lines[1:]])


if __name__ == "__main__":
    unittest.main()
