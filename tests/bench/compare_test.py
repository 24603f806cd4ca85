"""The comparison of two results folders flags what is slower or worse, and nothing else.

Usage: compare_test.py [unittest options]
"""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import warnings

import synthetic_results as synthetic

BENCH = pathlib.Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import compare  # noqa: E402

CLOCKED = ("step_overhead", "shared_verification", "throughput", "python_overhead", "cost")


class Compare(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)

    def folder(self, name, gpu="no GPU", report=None, **logs):
        folder = self.root / name
        synthetic.write_environment(folder, gpu)
        for log, lines in logs.items():
            synthetic.write_lines(folder, log, lines)
        if report:
            (folder / "kernels.json").write_text(json.dumps(report))
        return folder

    def compare(self, before, after):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error, \
                warnings.catch_warnings():
            warnings.simplefilter("error")
            status = compare.main([str(before), str(after)])
        return types.SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=error.getvalue())

    def flagged(self, result, flag):
        return [line for line in result.stdout.splitlines() if line.startswith(flag)]

    def refused(self, before, after, message):
        result = self.compare(before, after)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(message, result.stderr)

    def test_a_folder_is_within_noise_of_itself(self):
        folder = self.folder("all", report=synthetic.kernels(1), closed_loop=synthetic.closed_loop(1),
                             calibration=synthetic.calibration(1),
                             **{log: getattr(synthetic, log)(1) for log in CLOCKED})
        result = self.compare(folder, folder)
        self.assertEqual(result.returncode, 0, result.stdout)
        for log in (*CLOCKED, "kernels", "closed_loop", "calibration"):
            self.assertTrue(self.flagged(result, f"within noise  {log}:"), log)
        self.assertRegex(result.stdout, r"0 regression, 0 improvement, \d+ within noise, 0 not judged\n$")

    def test_repeated_without_a_change_is_within_noise(self):
        for log in CLOCKED:
            result = self.compare(self.folder(f"{log}-1", **{log: getattr(synthetic, log)(1)}),
                                  self.folder(f"{log}-2", **{log: getattr(synthetic, log)(2)}))
            self.assertEqual(result.returncode, 0, result.stdout)

    def test_ten_per_cent_slower_is_flagged(self):
        for log in CLOCKED:
            before = self.folder(f"{log}-1", **{log: getattr(synthetic, log)(1)})
            after = self.folder(f"{log}-2", **{log: getattr(synthetic, log)(2, slower=1.1)})
            result = self.compare(before, after)
            self.assertEqual(result.returncode, 1, f"{log}: {result.stdout}")
            self.assertGreaterEqual(len(self.flagged(result, "regression")), 2)
            for line in self.flagged(result, "regression"):
                self.assertNotRegex(line, r"(step, bare|, bare|step of eager): ")
            back = self.compare(after, before)
            self.assertEqual(back.returncode, 0, back.stdout)
            self.assertTrue(self.flagged(back, "improvement"))

    def test_ten_per_cent_slower_within_noise_of_thirty_is_not(self):
        for log in CLOCKED:
            before = self.folder(f"{log}-1", **{log: getattr(synthetic, log)(1, noise=0.3)})
            after = self.folder(f"{log}-2", **{log: getattr(synthetic, log)(2, slower=1.1, noise=0.3)})
            result = self.compare(before, after)
            self.assertEqual(result.returncode, 0, f"{log}: {result.stdout}")

    def test_kernels_are_judged_by_their_spread(self):
        before = self.folder("before", report=synthetic.kernels(1))
        slower = self.compare(before, self.folder("slower", report=synthetic.kernels(2, slower=1.1)))
        self.assertEqual(slower.returncode, 1, slower.stdout)
        noisy = self.compare(self.folder("noisy", report=synthetic.kernels(1, noise=0.3)),
                             self.folder("noisier", report=synthetic.kernels(2, slower=1.1, noise=0.3)))
        self.assertEqual(noisy.returncode, 0, noisy.stdout)

    def test_losses_are_paired_by_seed(self):
        before = synthetic.closed_loop(1)
        # The noise is of the seeds, and the same in both.
        worse = [{**line, "final": line["final"] * (1.005 if line["seed"] else 1.004)} for line in before]
        result = self.compare(self.folder("before", closed_loop=before), self.folder("after", closed_loop=worse))
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertTrue(self.flagged(result, "regression    closed_loop: bare, 600 steps: final loss over all rates"))
        self.assertTrue(self.flagged(result, "not judged    closed_loop: linear / denoised / both, 600 steps: "
                                             "final loss at 0.0003"))

    def test_a_rule_that_lets_more_pass_is_flagged(self):
        before = self.folder("before", calibration=synthetic.calibration(1))
        result = self.compare(before, self.folder("after", calibration=synthetic.calibration(2, false_accepts=0.03)))
        self.assertEqual(len(self.flagged(result, "regression")), 1, result.stdout)
        self.assertIn("false accepts", self.flagged(result, "regression")[0])

    def test_what_never_varies_is_exact(self):
        before, after = synthetic.throughput(1), synthetic.throughput(2)
        for line in after:
            if "peak_memory_bytes" in line:
                line["peak_memory_bytes"] = 600_000_000
        result = self.compare(self.folder("before", throughput=before), self.folder("after", throughput=after))
        self.assertEqual(len(self.flagged(result, "regression")), 2, result.stdout)
        self.assertIn("peak memory", self.flagged(result, "regression")[0])

    def test_runs_that_diverged_are_no_losses(self):
        lines = synthetic.closed_loop(1)
        lines[0]["final"] = float("nan")
        folder = self.folder("diverged", closed_loop=lines)
        self.assertEqual(self.compare(folder, folder).returncode, 0)

    def test_folders_that_do_not_compare_are_refused(self):
        logs = {"throughput": synthetic.throughput(1)}
        here = self.folder("here", **logs)
        self.refused(here, self.folder("there", gpu="NVIDIA H200, 580.1", **logs),
                     "do not compare: GPU 'no GPU' and 'NVIDIA H200'")
        self.refused(here, self.folder("other", step_overhead=synthetic.step_overhead(1)), "no common figures")
        self.refused(here, self.root / "none", "none is no folder")
        bare = self.folder("bare", **logs)
        (bare / "environment.txt").unlink()
        self.refused(here, bare, "bare is no results folder: no environment.txt")
        broken = self.folder("broken", **logs)
        (broken / "throughput.jsonl").write_text('{"round": \n{}\n')
        self.refused(here, broken, "throughput.jsonl, line 1: no JSON object")
        lacking = self.folder("lacking", step_overhead=[{"round": 1, "wrapped": "idle"}])
        self.refused(lacking, lacking, "the log step_overhead has a line without 'bare_ms'")
        other = synthetic.throughput(1)
        other[-1]["sizes"]["device"] = "cuda"
        self.refused(here, self.folder("device", throughput=other), "no common figures")

    def test_the_program_ends_with_the_status(self):
        before = self.folder("before", throughput=synthetic.throughput(1))
        after = self.folder("after", throughput=synthetic.throughput(2, slower=1.1))
        for folders, status in (((before, before), 0), ((before, after), 1), ((before, self.root), 2)):
            result = subprocess.run([sys.executable, BENCH / "compare.py", *folders], capture_output=True, timeout=120)
            self.assertEqual(result.returncode, status, result)

    def test_another_driver_is_the_same_machine_and_a_log_may_be_cut_off(self):
        before = self.folder("before", gpu="NVIDIA H200, 580.1", step_overhead=synthetic.step_overhead(1))
        after = self.folder("after", gpu="NVIDIA H200, 590.2", step_overhead=synthetic.step_overhead(2))
        whole = (after / "step_overhead.jsonl").read_text()
        (after / "step_overhead.jsonl").unlink()
        (after / "step_overhead.log").write_text(whole[:-20])
        result = self.compare(before, after)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("5 figures", result.stdout)


if __name__ == "__main__":
    unittest.main()
