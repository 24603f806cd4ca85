"""The program as a user runs it: training, resuming after a kill, and one clear line for bad input.

Usage: program_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1)
CHECKPOINT_FILES = ("model", "optimizer", "leapverify", "random")

CONFIG = """
run: {steps: 60, log_every: 5, eval_every: 20, eval_sequences: 8, checkpoint_every: 10, device: cpu,
      threads: 1, sample_bytes: 20}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0.1}
batch: {sequences: 8}
optimizer: {lr: 1.0e-2}
schedule: {warmup: 5}
leapverify:
  enabled: true
  observe_every: 5
  first_leap: 10
  least_regime: chaotic
  max_overhead: inf
  max_backoff: 1
  horizons: [2, 4]
  predictor: linear
  reference: current
  on_accept: leap
  probes: 8
  verification: {rule: proximity, sequences: 16, proximity_tolerance: 0.02}
"""


def leapverify(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, **options)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.text = self.folder / "text.txt"
        self.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        self.config = self.folder / "config.yaml"
        self.config.write_text(CONFIG)

    def train(self, run, *arguments):
        return leapverify("train", self.config, "--data", self.text, "--run", run, *arguments)

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        lines = result.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), lines[0])

    def events(self, run, kind):
        lines = (run / "trace.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def final_state(self, run):
        _, name = (run / "checkpoints" / "latest").read_text().split()
        latest = run / "checkpoints" / name
        return {name: (latest / f"{name}.safetensors").read_bytes() for name in CHECKPOINT_FILES}


class Training(ProgramTest):
    def test_leaves_a_run_folder_that_tells_the_run(self):
        run = self.folder / "run"
        result = self.train(run)
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in ("config.yaml", "trace.jsonl", "metrics.jsonl", "checkpoints/latest"):
            self.assertTrue((run / name).exists(), name)
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train_loss"] for line in metrics if "train_loss" in line]
        self.assertGreater(losses[0], 5)
        self.assertLess(losses[-1], 3.5)
        self.assertEqual(metrics[-1]["step"], 60)
        self.assertIn("validation_loss", metrics[-1])

    def test_summary_can_be_recomputed_from_the_trace(self):
        run = self.folder / "run"
        result = self.train(run)
        leaps = self.events(run, "leap")
        start = self.events(run, "start")[0]
        accepted = [leap for leap in leaps if leap["outcome"] == "committed"]
        observed = [event for event in self.events(run, "observation") if "probe_loss" in event]
        probes = len(observed) * start["options"]["probes"]
        forwards = probes + sum(leap["forwards"] for leap in leaps)
        saved = sum(leap["steps_saved"] for leap in accepted)
        share = 100 * forwards / (forwards + 60 * start["step_cost"])
        self.assertGreater(len(accepted), 0)
        self.assertGreater(len(leaps), len(accepted))
        self.assertIn(f"leaps: {len(leaps)} tried, {len(accepted)} accepted, about {saved:.1f} "
                      f"steps saved; {forwards} forward passes of a sequence, {share:.2f} % of all "
                      "cost", result.stdout)

    def test_off_and_all_rejected_train_alike(self):
        states = []
        for name, override in (("off", "leapverify.enabled=false"),
                               ("rejected", "leapverify.verification.proximity_tolerance=1e-12")):
            run = self.folder / name
            self.assertEqual(self.train(run, "--set", override).returncode, 0)
            state = self.final_state(run)
            del state["leapverify"]
            states.append(state)
        rejected = self.events(self.folder / "rejected", "leap")
        self.assertGreater(len(rejected), 3)
        self.assertEqual({leap["outcome"] for leap in rejected}, {"rejected"})
        self.assertEqual(states[0], states[1])

    def test_killed_and_resumed_is_bitwise_the_uninterrupted_run(self):
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.assertEqual(self.train(whole).returncode, 0)
        process = subprocess.Popen(
            [PROGRAM, "train", self.config, "--data", self.text, "--run", killed],
            stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (killed / "checkpoints" / "step-20").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = leapverify("resume", killed)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertIn("resumed", resumed.stdout)
        self.assertEqual(self.final_state(whole), self.final_state(killed))
        self.assertEqual((whole / "trace.jsonl").read_bytes(),
                         (killed / "trace.jsonl").read_bytes())

    def test_interrupt_leaves_a_checkpoint_and_says_how_to_go_on(self):
        run = self.folder / "run"
        process = subprocess.Popen(
            [PROGRAM, "train", self.config, "--data", self.text, "--run", run, "--set",
             "run.steps=100000"], stdout=subprocess.PIPE, text=True)
        while not (run / "checkpoints" / "latest").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0)
        self.assertIn("continue with: leapverify resume", output)

    def test_finished_run_can_be_resumed_and_extended(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        metrics = (run / "metrics.jsonl").read_text().count("validation_loss")
        self.assertEqual(leapverify("resume", run).returncode, 0)
        self.assertEqual(metrics, (run / "metrics.jsonl").read_text().count("validation_loss"))
        longer = leapverify("resume", run, "--set", "run.steps=70", cwd=self.folder)
        self.assertIn("70 steps", longer.stdout)
        resumed = self.events(run, "resume")
        self.assertEqual([(event["step"], event["planned_steps"]) for event in resumed], [(60, 70)])
        self.assertEqual(leapverify("resume", run).returncode, 0)

    def test_data_path_may_hold_any_character(self):
        odd = self.folder / "a: b, #c [d] 'e'.txt"
        self.text.rename(odd)
        result = leapverify("train", self.config, "--data", odd, "--run", self.folder / "run")
        self.assertEqual(result.returncode, 0, result.stderr)


class BadInput(ProgramTest):
    def test_no_such_data_path(self):
        run = self.folder / "run"
        result = leapverify("train", self.config, "--data", self.folder / "none", "--run", run)
        self.assert_refused(result, self.folder / "none")
        self.assertFalse(run.exists(), "a run that never began leaves no folder")

    def test_empty_file(self):
        self.text.write_text("")
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "empty")

    def test_file_shorter_than_one_sequence(self):
        self.text.write_text("short")
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "5 bytes")

    def test_binary_junk(self):
        self.text.write_bytes(bytes(range(256)) * 40)
        self.assert_refused(self.train(self.folder / "run"), "text.txt", "NUL")

    def test_existing_run_folder_is_left_alone(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "thesis.txt").write_text("years of work")
        self.assert_refused(self.train(run), run, "exists already")
        self.assertEqual([path.name for path in run.iterdir()], ["thesis.txt"])

    def test_unwritable_run_folder(self):
        self.assert_refused(self.train(self.text / "run"), "cannot create run folder")

    def test_broken_yaml(self):
        self.config.write_text("run: {steps: 5\n")
        self.assert_refused(self.train(self.folder / "run"), "config.yaml:")

    def test_unknown_key(self):
        self.config.write_text("run:\n  step: 5\n")
        self.assert_refused(self.train(self.folder / "run"), "config.yaml:2", "run.step",
                            "run.steps")

    def test_negative_horizon(self):
        result = self.train(self.folder / "run", "--set", "leapverify.horizons=[5,-10]")
        self.assert_refused(result, "leapverify.horizons", "-10", "≥ 1")

    def test_window_longer_than_the_run(self):
        result = self.train(self.folder / "run", "--set", "leapverify.observe_every=60")
        self.assert_refused(result, "leapverify.observe_every", "60 steps")

    def test_gate_set_too_small(self):
        result = self.train(self.folder / "run", "--set", "leapverify.verification.sequences=90000")
        self.assert_refused(result, "gate set", "at least")

    def test_resume_without_a_run(self):
        self.assert_refused(leapverify("resume", self.folder / "none"), "no such run folder")

    def test_resume_before_the_first_checkpoint(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "config.yaml").write_text(CONFIG.replace("data: {", f"data: {{path: '{self.text}', "))
        self.assert_refused(leapverify("resume", run), "no complete checkpoint")

    def test_resume_on_other_text(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        self.text.write_text(self.text.read_text().replace("apples", "pears!"))
        self.assert_refused(leapverify("resume", run), "other text")

    def test_damaged_checkpoint(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        for name in CHECKPOINT_FILES:
            path = run / "checkpoints" / "step-60" / f"{name}.safetensors"
            saved = path.read_bytes()
            flipped = bytearray(saved)
            flipped[-1] ^= 1
            path.write_bytes(flipped)
            self.assert_refused(leapverify("resume", run), path, "damaged")
            path.write_bytes(saved)
        os.truncate(path, 100)
        self.assert_refused(leapverify("resume", run), path)

    def test_checkpoint_of_another_model(self):
        run = self.folder / "run"
        self.assertEqual(self.train(run).returncode, 0)
        result = leapverify("resume", run, "--set", "model.width=32")
        self.assert_refused(result, run, "tensor '", "[256, 16], expected", "[256, 32]")

    def test_model_that_cannot_fit_is_one_line(self):
        result = self.train(self.folder / "run", "--set", "model.width=65536", "--set",
                            "model.layers=1000")
        self.assert_refused(result, "memory")

    def test_numbers_far_too_large(self):
        for override in ("run.threads=3000000000", "batch.sequences=99999999999",
                         "model.context=99999999999"):
            self.assert_refused(self.train(self.folder / "run", "--set", override), override)

    def test_diverging_run_says_so(self):
        result = self.train(self.folder / "run", "--set", "optimizer.lr=1e30", "--set",
                            "optimizer.clip=0")
        self.assert_refused(result, "training loss is", "optimizer.lr")


class Help(ProgramTest):
    def test_help_and_explain_config_show_every_key(self):
        explained = leapverify("explain-config").stdout
        for key in ("lr", "observe_every", "proximity_tolerance", "max_overhead"):
            self.assertIn(key, explained)
            self.assertIn(key, leapverify("train", "--help").stdout)


if __name__ == "__main__":
    unittest.main()
