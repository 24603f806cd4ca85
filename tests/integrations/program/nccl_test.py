"""On a GPU: two ranks over NCCL, which share it and take each other for other machines, beside one process; torchrun; a
worker. Without a GPU it is skipped.

Usage: nccl_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
SKIPPED = 77

CONFIG = """
run: {steps: 40, log_every: 5, eval_every: 20, eval_sequences: 10, device: cuda, sample_bytes: 20}
data: {gate_share: 0.2, validation_share: 0.1}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0}
batch: {sequences: 8, accumulate: 2}
optimizer: {lr: 1.0e-2}
schedule: {warmup: 5}
distributed: {timeout_seconds: 60}
leapverify: {preset: verified, enabled: true, observe_every: 5, first_leap: 10, least_regime: chaotic, max_overhead: inf, max_backoff: 1,
             horizons: [2, 4], predictor: linear, reference: current, on_accept: leap, probes: 8,
             verification: {rule: proximity, sequences: 16, proximity_tolerance: 0.02}}
"""


def has_gpu():
    return "GPU" in subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout


class Nccl(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify nccl ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "text.txt").write_text("".join(f"line {i}: {i * i % 97} apples\n" for i in range(3000)))
        (self.folder / "config.yaml").write_text(CONFIG)

    def train(self, ranks, name, *settings):
        """On the first GPU, as many ranks as there are; returns what each said."""
        overrides = [word for setting in settings for word in ("--set", setting)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        processes = []
        for rank in range(ranks):
            # NCCL refuses two ranks of one host on a GPU; as two hosts they talk over loopback.
            own = {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NCCL_HOSTID": f"host-{rank}",
                   "NCCL_SOCKET_IFNAME": "lo"}
            processes.append(subprocess.Popen(
                [PROGRAM, "train", self.folder / "config.yaml", "--data", self.folder / "text.txt", "--run",
                 self.folder / name, *overrides], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, **own}))
        said = [process.communicate(timeout=300)[0] for process in processes]
        for process, words in zip(processes, said, strict=True):
            self.assertEqual(process.returncode, 0, words)
        return said

    def lines(self, name, file):
        return [json.loads(line) for line in (self.folder / name / file).read_text().splitlines()]

    def test_two_ranks_train_as_one_does(self):
        self.train(1, "one")
        said = self.train(2, "two")
        self.assertIn("2 over NCCL", said[0])
        losses = [[line["validation_loss"] for line in self.lines(name, "metrics.jsonl") if "validation_loss" in line]
                  for name in ("one", "two")]
        for mine, other in zip(*losses, strict=True):
            self.assertAlmostEqual(mine, other, delta=2e-3)
        tries = [[(event["step"], event["outcome"]) for event in self.lines(name, "trace.jsonl") if event["event"] == "leap"]
                 for name in ("one", "two")]
        self.assertEqual(*tries)
        self.assertTrue(tries[0])

    def test_torchrun_starts_a_run(self):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node", "1", "--",
             PROGRAM, "train", self.folder / "config.yaml", "--data", self.folder / "text.txt", "--run",
             self.folder / "run"], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("40 steps", done.stdout)

    def test_a_worker_on_the_gpu_hands_over(self):
        self.train(1, "run", "speculation.steps=5", "speculation.device=cuda", "speculation.gpu=0",
                   "speculation.max_distance=1000", "leapverify.verification.proximity_tolerance=1e9",
                   "leapverify.first_leap=1000")
        outcomes = [event["outcome"] for event in self.lines("run", "trace.jsonl") if event["event"] == "speculation"]
        self.assertIn("handed_over", outcomes)


if __name__ == "__main__":
    try:
        gpu = has_gpu()
    except FileNotFoundError:
        gpu = False
    if not gpu:
        print("no GPU: skipped")
        sys.exit(SKIPPED)
    unittest.main()
