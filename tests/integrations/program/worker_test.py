"""A speculative worker as a process: it hands over, and where it is killed, hangs or is slow the run goes on.

Usage: worker_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1)
CHECKPOINT_FILES = ("model", "optimizer", "leapverify", "random")

CONFIG = """
run: {steps: 60, log_every: 5, eval_every: 20, eval_sequences: 8, checkpoint_every: 20, keep_checkpoints: 9, device: cpu,
      threads: 1, sample_bytes: 20}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0.1}
batch: {sequences: 8}
optimizer: {lr: 1.0e-2}
schedule: {warmup: 5}
speculation: {steps: 5, max_distance: 1000, timeout_seconds: 60}
leapverify:
  preset: verified
  enabled: true
  observe_every: 5
  first_leap: 1000
  max_overhead: inf
  horizons: [2, 4]
  predictor: linear
  reference: current
  on_accept: leap
  probes: 0
  detector: {signal: delta_cosine}
  verification: {rule: proximity, sequences: 16, proximity_tolerance: 1.0e+9}
"""
REJECT = ["--set", "leapverify.verification.rule=strict", "--set", "leapverify.verification.margin=1000"]


class Worker(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify worker ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.text = self.folder / "text.txt"
        self.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        self.config = self.folder / "config.yaml"
        self.config.write_text(CONFIG)

    def command(self, run, *arguments):
        return [PROGRAM, "train", self.config, "--data", self.text, "--run", run, *arguments]

    def train(self, name, *arguments):
        run = self.folder / name
        result = subprocess.run(self.command(run, *arguments), capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        return run, result

    def events(self, run):
        events = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
        return [event for event in events if event["event"] == "speculation"]

    def state(self, run, step=60):
        folder = run / "checkpoints" / f"step-{step}"
        return {name: (folder / f"{name}.safetensors").read_bytes() for name in CHECKPOINT_FILES}

    def steps_logged(self, run):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line["step"] for line in lines if "train_loss" in line], [line["step"] for line in lines
                                                                    if "validation_loss" in line]


class HandingOver(Worker):
    def test_a_run_gains_the_workers_steps(self):
        run, result = self.train("run")
        outcomes = [event["outcome"] for event in self.events(run)]
        handed = outcomes.count("handed_over")
        self.assertGreaterEqual(handed, 2, self.events(run))
        self.assertIn(f"a worker handed over {handed} times, {5 * handed} of the steps", result.stdout)
        trained, validated = self.steps_logged(run)
        self.assertEqual(trained[-1], 60)
        self.assertEqual(validated[-1], 60)
        self.assertFalse((run / "worker").exists())

    def test_it_is_the_same_run_again_and_after_a_resume(self):
        first, _ = self.train("first")
        second, _ = self.train("second")
        self.assertEqual(self.state(first), self.state(second))
        whole = self.state(first)
        self.assertIn("handed_over", [event["outcome"] for event in self.events(first)])
        step = int(sorted((path.name for path in (first / "checkpoints").glob("step-*")),
                          key=lambda name: int(name[5:]))[0][5:])
        result = subprocess.run([PROGRAM, "resume", first, "--step", str(step)], capture_output=True, text=True,
                                timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.state(first), whole)

    def test_a_race_gains_no_steps(self):
        run, result = self.train("run", "--set", "speculation.kind=race", "--set", "speculation.max_distance=1e-9")
        outcomes = [event["outcome"] for event in self.events(run)]
        self.assertIn("handed_over", outcomes)
        self.assertEqual(self.steps_logged(run)[0][:4], [5, 10, 15, 20], "every step is the run's own")

    def test_rejected_it_leaves_no_trace(self):
        bare, _ = self.train("bare", "--set", "speculation.steps=0", "--set", "leapverify.enabled=false")
        run, _ = self.train("run", *REJECT)
        self.assertEqual({event["outcome"] for event in self.events(run)}, {"rejected"})
        for name in ("model", "optimizer", "random"):
            self.assertEqual(self.state(run)[name], self.state(bare)[name], name)


class Failing(Worker):
    def start(self, run, *arguments):
        process = subprocess.Popen(self.command(run, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def worker_of(self, process):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            children = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True)
            workers = [line.split()[0] for line in children.stdout.splitlines() if " worker " in line]
            if workers:
                return int(workers[0])
            time.sleep(0.01)
        self.fail("no worker")

    def finished(self, process):
        out, error = process.communicate(timeout=200)
        self.assertEqual(process.returncode, 0, error)
        return out

    def test_killed(self):
        run = self.folder / "run"
        process = self.start(run, "--set", "run.steps=400", "--set", "speculation.steps=20")
        os.kill(self.worker_of(process), signal.SIGKILL)
        self.assertIn("a worker failed, the next job takes another: the worker was killed by signal 9", self.finished(process))
        reasons = [event["reason"] for event in self.events(run) if event["outcome"] == "failed"]
        self.assertEqual(reasons, ["the worker was killed by signal 9"])
        self.assertIn("handed_over", [event["outcome"] for event in self.events(run)], "another takes its place")

    def test_hung(self):
        run = self.folder / "run"
        process = self.start(run, "--set", "run.steps=400", "--set", "speculation.steps=20", "--set",
                             "speculation.timeout_seconds=1")
        worker = self.worker_of(process)
        os.kill(worker, signal.SIGSTOP)
        self.finished(process)
        failed = [event for event in self.events(run) if event["outcome"] == "failed"]
        self.assertIn("the worker did not answer within 1 s", [event["reason"] for event in failed])
        with self.assertRaises(ProcessLookupError, msg="it is gone"):
            os.kill(worker, 0)

    def test_hung_while_nobody_waits_for_it(self):
        run = self.folder / "run"
        process = self.start(run, "--set", "run.steps=400", "--set", "speculation.max_distance=1e-9", "--set",
                             "speculation.timeout_seconds=20")
        os.kill(self.worker_of(process), signal.SIGSTOP)
        self.finished(process)
        failed = [event["reason"] for event in self.events(run) if event["outcome"] == "failed"]
        self.assertEqual(failed, ["the worker did not answer within 20 s"])

    def test_answers_that_nobody_hears_hold_nothing_up(self):
        # More than a socket takes, if none were heard.
        run, _ = self.train("run", "--set", "run.steps=1500", "--set", "speculation.steps=1", "--set", "leapverify.observe_every=2",
                            "--set", "speculation.max_distance=1e-9", "--set", "leapverify.horizons=[1]")
        self.assertGreater(len(self.events(run)), 400)
        self.assertEqual({event["outcome"] for event in self.events(run)}, {"rejected"})

    def test_three_that_are_too_slow_are_the_last(self):
        run, result = self.train("run", "--set", "speculation.timeout_seconds=0.001")
        self.assertEqual([event["off"] for event in self.events(run)], [False, False, True])
        self.assertIn("no worker from here on: the worker did not answer within 0.001 s", result.stdout)

    def test_out_of_memory(self):
        run = self.folder / "run"
        process = self.start(run, "--set", "run.steps=400", "--set", "speculation.steps=20")
        resource.prlimit(self.worker_of(process), resource.RLIMIT_AS, (1 << 20, 1 << 20))
        self.finished(process)
        outcomes = [event["outcome"] for event in self.events(run)]
        self.assertEqual(outcomes.count("failed"), 1, self.events(run))
        self.assertIn("handed_over", outcomes, "another takes its place")


class BadInput(Worker):
    def refused(self, *arguments):
        result = subprocess.run(self.command(self.folder / "run", *arguments), capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1)
        return result.stderr

    def test_without_leaps_nothing_judges(self):
        self.assertIn("speculation.steps: 5 is not legal", self.refused("--set", "leapverify.enabled=false"))

    def test_numbers_out_of_range(self):
        self.assertIn("speculation.max_distance", self.refused("--set", "speculation.max_distance=0"))
        self.assertIn("speculation.steps", self.refused("--set", "speculation.steps=-1"))

    def test_devices_that_are_not_there(self):
        self.assertRegex(self.refused("--set", "speculation.device=cuda", "--set", "speculation.gpu=99"),
                         "speculation.(device: cuda|gpu: 99) is not legal")
        self.assertIn("expected cpu or cuda", self.refused("--set", "speculation.device=auto"))


if __name__ == "__main__":
    unittest.main()
