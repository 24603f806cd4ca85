"""The closed-loop bench keeps a folder to one device and length, and goes on where it was; so does run_cost.py.

Usage: closed_loop_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv.pop(1)).absolute()
BENCH = pathlib.Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import measured  # noqa: E402
import run_cost  # noqa: E402
from results_folder import ResultsFolder  # noqa: E402

# Stands in for the program: a run whose validation loss is its learning rate.
STAND_IN = """#!/bin/sh
while [ "$1" != --run ]; do shift; done
mkdir -p "$2"
for word; do case "$word" in optimizer.lr=*) rate="${word#*=}" ;; esac; done
printf '{"step": 1000, "seconds": 1, "validation_loss": %s}\\n' "$rate" >"$2/metrics.jsonl"
"""


FAILS_ONCE = """#!/bin/sh
case "$*" in *leapverify.enabled=true*) if mkdir "$(dirname "$0")/failed" 2>/dev/null; then
  echo "a first line" >&2; echo "no such luck" >&2; exit 1
fi ;; esac
"""


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.program = self.folder / "leapverify"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)


class ClosedLoop(Folder):
    def bench(self, *arguments):
        return subprocess.run([sys.executable, BENCH / "closed_loop.py", self.program, "text", self.folder, *arguments],
                              capture_output=True, text=True, timeout=120, cwd=self.folder)

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

    def test_a_folder_is_of_one_text(self):
        (self.folder / "text").write_text("some")
        self.assertEqual(self.bench("--grid", "start").returncode, 0)
        (self.folder / "text").write_text("another")
        refused = self.bench("--grid", "best")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("holds runs on another text", refused.stderr)

    def test_a_program_that_always_fails_ends_with_1(self):
        self.program.write_text("#!/bin/sh\nexit 3\n")
        self.assertEqual(self.bench("--grid", "start").returncode, 1)
        self.assertEqual({line["failed"] for line in self.lines()}, {"ended with 3"})

    def test_goes_on_where_it_was(self):
        self.assertEqual(self.bench("--device", "cpu").returncode, 0)
        first = self.lines()
        self.assertEqual(self.bench("--device", "cpu", "--grid", "best").returncode, 0)
        every = self.lines()
        self.assertEqual(every[:len(first)], first)
        runs = [(line["variant"], line["lr"], line["seed"]) for line in every]
        self.assertEqual(len(runs), len(set(runs)))
        self.assertGreater(len(every), len(first))


class Cost(Folder):
    def cost(self, *arguments):
        return subprocess.run([sys.executable, BENCH / "run_cost.py", self.program, "text", self.folder, *arguments],
                              capture_output=True, text=True, timeout=120, cwd=self.folder)

    def lines(self):
        return [json.loads(line) for line in (self.folder / "cost.jsonl").read_text().splitlines()]

    def test_is_of_three_runs_in_turns_and_of_three_slow_ones(self):
        result = self.cost("--rounds", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = self.lines()
        self.assertEqual({line["steps"] for line in lines}, {1000})
        default = run_cost.VERIFIED
        self.assertEqual([(line["variant"], line.get("round"), line["lr"]) for line in lines],
                         [("bare", 0, 8e-3), (default, 0, 8e-3), ("auto", 0, 8e-3),
                          (default, 1, 8e-3), ("auto", 1, 8e-3), ("bare", 1, 8e-3),
                          ("bare", None, 5e-4), (default, None, 5e-4), ("auto", None, 5e-4)])
        figures = measured.cost(ResultsFolder(self.folder))
        self.assertEqual(figures["whole run, train_seconds, every try rejected ÷ bare"].values, (1, 1))
        self.assertEqual(figures["whole run, train_seconds, preset auto ÷ bare"].values, (1, 1))
        self.assertEqual(figures[f"{default} at 0.0005: steps to the bare run's final loss"].value, 1000)

    def test_goes_on_where_it_was(self):
        self.assertEqual(self.cost("--rounds", "2").returncode, 0)
        whole = self.lines()
        log = self.folder / "cost.jsonl"
        log.write_text("".join(json.dumps(line) + "\n" for line in whole[:3]) + '{"variant": ')
        self.assertEqual(self.cost("--rounds", "2").returncode, 0)
        self.assertEqual(self.lines()[:3], whole[:3])
        self.assertEqual([run_cost.key_of(line) for line in self.lines()], [run_cost.key_of(line) for line in whole])

    def test_names_a_run_that_fails_and_pairs_the_others(self):
        self.program.write_text(STAND_IN.replace("#!/bin/sh", FAILS_ONCE))
        result = self.cost("--rounds", "3")
        self.assertEqual(result.returncode, 1)
        default = run_cost.VERIFIED
        self.assertEqual(result.stderr.splitlines(), [f"error: {default} at 0.008: no such luck"])
        lines = self.lines()
        self.assertEqual([line["failed"] for line in lines if "failed" in line], ["no such luck"])
        figures = measured.cost(ResultsFolder(self.folder))
        self.assertEqual(figures["whole run, train_seconds, every try rejected ÷ bare"].n, 2)
        again = self.cost("--rounds", "3")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout.splitlines(), [f"1 of 1: {default} at 0.008: 0.008"])
        figures = measured.cost(ResultsFolder(self.folder))
        self.assertEqual(figures["whole run, train_seconds, every try rejected ÷ bare"].n, 3)

    def test_a_folder_is_of_one_text_and_length(self):
        (self.folder / "text").write_text("some")
        self.assertEqual(self.cost("--rounds", "1").returncode, 0)
        lines = self.lines()
        refused = self.cost("--rounds", "1", "--smoke")
        self.assertIn("holds other runs than of 60 steps on cpu", refused.stderr)
        (self.folder / "text").write_text("another")
        refused = self.cost("--rounds", "2")
        self.assertEqual((refused.returncode, self.lines()), (1, lines))
        self.assertIn("holds runs on another text", refused.stderr)
        (self.folder / "cost.jsonl").write_text("# a command\n{}\n")
        self.assertIn("is no log of one object a line", self.cost().stderr.splitlines()[-1])

    def test_runs_that_did_not_end_alike_are_no_measure(self):
        self.program.write_text(STAND_IN.replace('"$rate" >', '"$rate$RANDOM" >').replace("/bin/sh", "/usr/bin/env bash"))
        result = self.cost("--rounds", "1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("at 0.008 not everything was rejected, or both did not end alike", result.stderr)


class RealProgram(unittest.TestCase):
    """What a stand-in cannot show: that the program knows the settings, and that its logs are read."""

    def test_every_variant_trains_and_is_reported(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            text = folder / "text.py"
            text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
            for bench in ("closed_loop.py", "run_cost.py"):
                result = subprocess.run([sys.executable, BENCH / bench, PROGRAM, text, folder / "results", "--smoke"],
                                        capture_output=True, text=True, timeout=300)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            closed_loop, cost = ([json.loads(line) for line in (folder / "results" / name).read_text().splitlines()]
                                 for name in ("closed_loop.jsonl", "cost.jsonl"))
            self.assertEqual([line for line in [*closed_loop, *cost] if "failed" in line], [])
            self.assertGreater(max(line["tries"] for line in closed_loop if line["variant"] == run_cost.VERIFIED), 0)
            self.assertEqual({line["variant"] for line in closed_loop} & {"bare", "free", "auto"}, {"bare", "free", "auto"})
            self.assertEqual(len(cost), 21)
            for lines in (closed_loop, cost):
                looked_at = [line for line in lines if line["variant"] == "auto"]
                self.assertTrue(looked_at)
                for line in looked_at:
                    self.assertGreater(line["looks"], 0)
                    self.assertGreater(line["cost_steps"], 0)
            result = subprocess.run([sys.executable, BENCH / "report.py", folder / "results"], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            report = (folder / "results" / "report.md").read_text()
            for heading in ("Final losses at every learning rate", "Cost of a run in which every try is rejected"):
                self.assertIn(heading, report)


if __name__ == "__main__":
    unittest.main()
