"""Benches that no test of their own runs, each once and short: their logs are what the report and the comparison read.

Usage: smoke_test.py LEAPVERIFY BENCH_STEP_OVERHEAD BENCH_CALIBRATION BENCH_SHARED_VERIFICATION MPIRUN [unittest options],
with the package on PYTHONPATH; MPIRUN may be empty
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM, STEP_OVERHEAD, CALIBRATION, SHARED_VERIFICATION, MPIRUN = (sys.argv.pop(1) for _ in range(5))
BENCH = pathlib.Path(__file__).parents[2] / "bench"


os.environ.update({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"})


def output_of(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Smoke(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name) / "results"
        self.folder.mkdir()
        (self.folder / "environment.txt").write_text("commit 0123456\n      2 cpu Made-up\nno GPU\n")

    def check(self, name, log, heading):
        """The report of the log, after a comparison with itself that finds no change."""
        (self.folder / f"{name}.jsonl").write_text("# command\n" + log)
        output_of(sys.executable, BENCH / "report.py", self.folder)
        copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, copy)
        compared = output_of(sys.executable, BENCH / "compare.py", self.folder, copy)
        for word in ("regression", "improvement"):
            self.assertNotIn(f"| {word}", compared)
        report = (self.folder / "report.md").read_text()
        self.assertIn(heading, report)
        return report

    def test_step_overhead(self):
        log = output_of(STEP_OVERHEAD, 3)
        self.check("step_overhead", log, "step_overhead")
        self.assertEqual({json.loads(line)["wrapped"] for line in log.splitlines()}, {"idle", "observing", "striding", "free"})

    def test_shared_verification(self):
        if not MPIRUN:
            self.skipTest("no MPI")
        log = output_of(MPIRUN, "-n", 2, SHARED_VERIFICATION, 5, 3)
        summary = json.loads(log.splitlines()[-1])
        self.assertEqual(summary["ranks"], 2)
        self.assertLess(summary["largest_loss_difference"], 1e-4)
        self.check("shared_verification", log, "Verification shared by ranks")

    def test_throughput(self):
        log = output_of(sys.executable, BENCH / "throughput.py", PROGRAM, "--model", "tiny", "--rounds", "2", "--warm-up",
                        "1", "--steps", "3", "--against", "eager", "--profile", self.folder.with_name("traces"))
        self.assertIn("| ms a step | trainer | eager | trainer ÷ eager |", log)
        self.assertIn("| `aten::addmm` |", log)
        self.check("throughput", log, "throughput")

    def test_python_overhead(self):
        log = output_of(sys.executable, BENCH / "python_overhead.py", "--rounds", "2", "--context", "8", "--layers", "1",
                        "--width", "24")
        self.check("python_overhead", log, "python_overhead")

    def test_calibration(self):
        draw = random.Random(1)
        losses = [draw.gauss(3, 0.3) for _ in range(256)]
        candidate = {"event": "candidate", "step": 50, "horizon": 5, "reference_losses": losses,
                     "candidate_losses": [loss + draw.gauss(0, 0.02) for loss in losses]}
        trace = self.folder.with_name("trace.jsonl")
        trace.write_text((json.dumps({"event": "start"}) + "\n") + (json.dumps(candidate) + "\n") * 3)
        thinned = output_of(sys.executable, BENCH / "candidates.py", 2, trace)
        self.assertEqual(len(thinned.splitlines()), 2)
        trace.write_text(thinned)
        self.check("calibration", output_of(CALIBRATION, 200, 1, trace), "calibration")


if __name__ == "__main__":
    unittest.main()
