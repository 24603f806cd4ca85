"""Several ranks as a user starts them: by mpirun on CPUs, and what torchrun says where there is no GPU.

Usage: ranks_test.py PATH_OF_LEAPVERIFY MPIRUN TORCHRUN [unittest options]
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

PROGRAM, MPIRUN, TORCHRUN = (sys.argv.pop(1) for _ in range(3))
CHECKPOINT_FILES = ("model", "optimizer", "leapverify", "random")

CONFIG = """
run: {steps: 60, log_every: 5, eval_every: 20, eval_sequences: 10, checkpoint_every: 20, keep_checkpoints: 9,
      device: cpu, threads: 1, sample_bytes: 20}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0}
batch: {sequences: 8, accumulate: 2}
optimizer: {lr: 1.0e-2}
schedule: {warmup: 5}
distributed: {timeout_seconds: 20}
leapverify:
  preset: verified
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
DEFAULTS = """leapverify: {preset: verified, enabled: true, observe_every: 5, max_overhead: 1, verification: {sequences: 32}}
"""
# Ranks may outnumber the cores and belong to root, as in a container.
MPI_SETTINGS = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
                "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


class Ranks(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="leapverify ranks ")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.text = self.folder / "text.txt"
        self.text.write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        self.config = self.folder / "config.yaml"
        self.config.write_text(CONFIG)
        self.environment = {**os.environ, **MPI_SETTINGS}

    def command(self, ranks, *arguments):
        """The command of so many ranks; a list in place of arguments gives each rank its own."""
        if not isinstance(arguments[0], list):
            return [MPIRUN, "-n", str(ranks), PROGRAM, *map(str, arguments)]
        parts = [["-n", "1", PROGRAM, *map(str, own)] for own in arguments]
        return [MPIRUN, *parts[0], *(word for part in parts[1:] for word in (":", *part))]

    def start(self, ranks, *arguments):
        return subprocess.run(self.command(ranks, *arguments), capture_output=True, text=True, timeout=300,
                              env=self.environment)

    def training(self, run, *arguments):
        return ["train", self.config, "--data", self.text, "--run", run, *arguments]

    def train(self, ranks, run, *arguments):
        result = self.start(ranks, *self.training(run, *arguments))
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def state(self, run, step):
        folder = run / "checkpoints" / f"step-{step}"
        return {name: (folder / f"{name}.safetensors").read_bytes() for name in CHECKPOINT_FILES}

    def lines(self, run, name):
        return [json.loads(line) for line in (run / name).read_text().splitlines()]

    def validations(self, run):
        return [line["validation_loss"] for line in self.lines(run, "metrics.jsonl") if "validation_loss" in line]

    def said(self, result):
        """Lines of the program itself."""
        return [line for line in result.stderr.splitlines() if line.startswith("leapverify: ")]

    def assert_refused(self, result, words):
        self.assertNotEqual(result.returncode, 0)
        if "built without CUDA" in result.stderr:
            self.skipTest("built without NCCL")
        said = self.said(result)
        self.assertEqual(len(said), 1, result.stderr)
        self.assertIn(words, said[0])


class Training(Ranks):
    def test_any_number_of_ranks_trains_alike(self):
        runs = {ranks: self.folder / f"of {ranks}" for ranks in (1, 2, 4)}
        for ranks, run in runs.items():
            result = self.train(ranks, run)
            self.assertEqual(result.stdout.count("run folder   "), 1, "one rank speaks")
            self.assertEqual(f"{ranks} over MPI" in result.stdout, ranks > 1)
        for ranks in (2, 4):
            for mine, other in zip(self.validations(runs[ranks]), self.validations(runs[1]), strict=True):
                self.assertAlmostEqual(mine, other, delta=1e-3)
            mine, other = (self.lines(run, "trace.jsonl") for run in (runs[ranks], runs[1]))
            decisions = [[(event["step"], event["horizon"], event["verdict"]) for event in trace
                          if event["event"] == "candidate"] for trace in (mine, other)]
            self.assertEqual(*decisions)
            self.assertIn("accepted", {verdict for _, _, verdict in decisions[0]})

    def test_the_default_rule_decides_alike_on_any_number_of_ranks(self):
        self.config.write_text(CONFIG[:CONFIG.index("leapverify:")] + DEFAULTS)
        moves = []
        for ranks in (1, 2):
            run = self.folder / f"of {ranks}"
            self.train(ranks, run)
            moves.append([(event["step"], event["to"]) for event in self.lines(run, "trace.jsonl")
                          if event["event"] == "rate"])
        self.assertEqual(*moves)
        self.assertTrue(moves[0])

    def test_resumed_by_as_many_ranks_is_bitwise_the_run(self):
        run = self.folder / "run"
        self.train(2, run, "--set", "model.dropout=0.1")
        whole = self.state(run, 60)
        result = self.start(2, "resume", run, "--step", 40)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.state(run, 60), whole)

    def test_resumed_by_other_ranks_only_where_that_is_wanted(self):
        run = self.folder / "run"
        self.train(2, run)
        losses = self.validations(run)
        self.assert_refused(self.start(1, "resume", run, "--step", 20),
                            "trained by 2 ranks and resumed by one process: --other-ranks goes on so")
        self.assert_refused(self.start(4, "resume", run, "--step", 20), "by 2 ranks and resumed by 4 ranks")
        self.assertEqual(self.validations(run), losses, "a refusal changes nothing")
        result = self.start(4, "resume", run, "--step", 20, "--other-ranks")
        self.assertEqual(result.returncode, 0, result.stderr)
        changed = [event["changed"] for event in self.lines(run, "trace.jsonl") if event["event"] == "config"]
        self.assertEqual(changed, [{"ranks": {"from": "2", "to": "4"}}])
        for mine, other in zip(self.validations(run), losses, strict=True):
            self.assertAlmostEqual(mine, other, delta=1e-3)

    def test_the_next_batch_is_shared_as_held_out_data(self):
        runs = [self.folder / "alone", self.folder / "two"]
        for ranks, run in zip((1, 2), runs, strict=True):
            self.train(ranks, run, "--set", "leapverify.gate=next_batch")
        pairs = [[(event["step"], event["verdict"], event["pairs"]) for event in self.lines(run, "trace.jsonl")
                  if event["event"] == "candidate" and "pairs" in event] for run in runs]
        self.assertEqual(*pairs)
        self.assertEqual({count for _, _, count in pairs[0]}, {16})

    def test_an_interrupt_stops_all_ranks_with_a_checkpoint(self):
        run = self.folder / "run"
        process = subprocess.Popen(
            self.command(2, *self.training(run, "--set", "run.steps=100000", "--set", "run.checkpoint_every=0")),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.wait_for(run / "metrics.jsonl")
        time.sleep(1)
        # mpirun itself would give the ranks a second.
        ranks = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
        os.kill(int(ranks.stdout.split()[0]), signal.SIGTERM)
        out, error = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, error)
        self.assertRegex(out, r"stopped at step \d+; continue with: leapverify resume")
        self.assertEqual(self.start(2, "resume", run, "--set", "run.steps=100000", "--set",
                                    "run.target_loss=100").returncode, 0)

    def wait_for(self, path):
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(path.exists())

    def test_a_killed_rank_ends_the_run_which_is_the_same_when_resumed(self):
        steps = ["--set", "run.steps=300"]
        whole = self.folder / "whole"
        self.train(2, whole, *steps)
        for rank, step in ((0, 20), (1, 100)):
            run = self.folder / f"without {rank}"
            process = subprocess.Popen(self.command(2, *self.training(run, *steps)), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env=self.environment)
            self.wait_for(run / "checkpoints" / f"step-{step}")
            self.wait_for(run / "checkpoints" / "latest")  # written after the first one
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
            os.kill(int(children.stdout.split()[rank]), signal.SIGKILL)
            self.assertNotEqual(process.wait(timeout=60), 0)
            result = self.start(2, "resume", run)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(self.state(run, 300), self.state(whole, 300))

    def test_a_rank_that_hangs_ends_the_run_in_time(self):
        self.config.write_text(CONFIG.replace("timeout_seconds: 20", "timeout_seconds: 3"))
        run = self.folder / "run"
        process = subprocess.Popen(self.command(2, *self.training(run, "--set", "run.steps=100000")),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.wait_for(run / "checkpoints" / "step-20")
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
        os.kill(int(children.stdout.split()[-1]), signal.SIGSTOP)
        error = process.communicate(timeout=60)[1]
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("within 3 s", error)

    def test_a_checkpoint_that_cannot_be_written_ends_the_run_on_all(self):
        run = self.folder / "run"
        process = subprocess.Popen(self.command(2, *self.training(run, "--set", "run.steps=100000")),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.wait_for(run / "checkpoints" / "latest")
        kept = self.folder / "kept"
        os.rename(run / "checkpoints", kept)
        (run / "checkpoints").touch()
        error = process.communicate(timeout=60)[1]
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(error, r"leapverify: rank 0: .*checkpoints")
        (run / "checkpoints").unlink()
        os.rename(kept, run / "checkpoints")
        result = self.start(2, "resume", run, "--set", "run.target_loss=100")
        self.assertEqual(result.returncode, 0, result.stderr)


class BadInput(Ranks):
    def test_ranks_with_different_configs(self):
        run = self.folder / "run"
        arguments = self.training(run)
        result = self.start(2, arguments, [*arguments, "--set", "optimizer.lr=0.02"])
        self.assert_refused(result, "config: optimizer.lr is 0.02 on rank 1 and 0.01 on rank 0")
        self.assertFalse(run.exists())

    def test_ranks_with_different_command_lines(self):
        arguments = self.training(self.folder / "run")
        other = self.training(self.folder / "other")
        self.assert_refused(self.start(2, arguments, other), "command line: rank 1 has another than rank 0")
        self.assertFalse((self.folder / "run").exists())

    def test_a_config_that_one_rank_cannot_read(self):
        arguments = self.training(self.folder / "run")
        result = self.start(2, arguments, [*arguments, "--set", "optimizer.lr=-1"])
        self.assert_refused(result, "rank 1: ")
        self.assertIn("optimizer.lr", self.said(result)[0])

    def test_a_batch_that_the_ranks_cannot_share(self):
        result = self.start(3, *self.training(self.folder / "run"))
        self.assert_refused(result, "batch.sequences: 8 is not legal, expected a multiple of 3")

    def test_a_run_folder_that_exists(self):
        run = self.folder / "run"
        run.mkdir()
        (run / "mine").touch()
        self.assert_refused(self.start(2, *self.training(run)), "exists already")
        self.assertEqual([path.name for path in run.iterdir()], ["mine"])

    def test_a_diverging_run_says_so_once(self):
        result = self.start(2, *self.training(self.folder / "run", "--set", "optimizer.lr=1e30", "--set",
                                              "optimizer.clip=0"))
        self.assert_refused(result, "rank 0: ")
        self.assertIn("a lower optimizer.lr may help", self.said(result)[0])

    def test_gpus_that_mpirun_does_not_give(self):
        result = self.start(2, *self.training(self.folder / "run", "--set", "run.device=cuda"))
        self.assert_refused(result, "torchrun starts one a GPU")


class Torchrun(Ranks):
    def by_hand(self, **variables):
        return subprocess.run([PROGRAM, *map(str, self.training(self.folder / "run"))], capture_output=True,
                              text=True, timeout=120, env={**self.environment, **variables})

    def test_ranks_without_a_gpu(self):
        result = subprocess.run(
            [sys.executable, "-m", TORCHRUN, "--no-python", "--standalone", "--nproc-per-node", "2", "--",
             PROGRAM, *map(str, self.training(self.folder / "run", "--set", "run.device=auto"))],
            capture_output=True, text=True, timeout=120, env={**self.environment, "CUDA_VISIBLE_DEVICES": ""})
        self.assertNotEqual(result.returncode, 0)
        self.assert_refused(result, "which shows 0 CUDA devices: torchrun starts one rank a GPU")

    def test_missing_and_wrong_variables(self):
        self.assert_refused(self.by_hand(RANK="0"), "WORLD_SIZE is not set")
        self.assert_refused(self.by_hand(RANK="0", WORLD_SIZE="2"), "MASTER_ADDR is not set")
        self.assert_refused(self.by_hand(RANK="2", WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT="29512"),
                            "RANK is '2', expected a whole number from 0 to 1")

    def test_a_rank_that_does_not_come_is_not_waited_for_without_end(self):
        self.config.write_text(CONFIG.replace("timeout_seconds: 20", "timeout_seconds: 2"))
        start = time.monotonic()
        result = self.by_hand(RANK="0", WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT="29513")
        self.assertLess(time.monotonic() - start, 60)
        self.assert_refused(result, "the 2 ranks did not meet at localhost:29513 within 2 s")


if __name__ == "__main__":
    unittest.main()
