"""Trainer throughput against the same model and batch in PyTorch eager, in turns within one run.

Usage: throughput.py PATH_OF_LEAPVERIFY [--rounds 5] [--steps 40] [--threads 2]
Prints one JSON object a round and one with the median ratio (above 1: the trainer is faster).
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

WARM_UP = 10


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        q, k, v = (part.view(batch, steps, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(self.norm1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, context=128, width=128, heads=4, layers=4):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(256, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight
        return self.norm(self.blocks(x)) @ self.tokens.weight.t()


def eager_seconds(steps, batch=16, context=128):
    """Seconds a step, without the warm-up."""
    torch.manual_seed(0)
    model = Gpt(context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * (1 + math.cos(step / 600 * math.pi)) / 2
        data = torch.randint(32, 127, (batch, context + 1), generator=generator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[:, :-1]).flatten(0, 1), data[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return (time.perf_counter() - start) / steps


def trainer_seconds(program, steps, threads, folder):
    """Likewise, read off the run's metrics."""
    text = folder / "text.txt"
    if not text.exists():
        text.write_bytes(bytes(torch.randint(32, 127, (1 << 20,)).tolist()))
    run = folder / f"run-{time.monotonic_ns()}"
    settings = {"run.steps": steps + WARM_UP, "run.log_every": WARM_UP, "run.eval_every": 0,
                "run.checkpoint_every": 0, "run.threads": threads, "run.device": "cpu",
                "run.sample_bytes": 0, "leapverify.enabled": "false"}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([program, "train", "--preset", "demo", "--data", text, "--run", run, *overrides,
                    "--set", "data.extensions=[]"], check=True, stdout=subprocess.DEVNULL)
    seconds = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        if "seconds" in metrics:
            seconds[metrics["step"]] = metrics["seconds"]
    return (seconds[steps + WARM_UP] - seconds[WARM_UP]) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(arguments.rounds):
            eager = eager_seconds(arguments.steps)
            trainer = trainer_seconds(arguments.program, arguments.steps, arguments.threads,
                                      pathlib.Path(folder))
            ratios.append(eager / trainer)
            print(json.dumps({"round": round_number, "eager_ms": 1e3 * eager,
                              "trainer_ms": 1e3 * trainer, "ratio": ratios[-1]}), flush=True)
    print(json.dumps({"rounds": len(ratios), "threads": arguments.threads,
                      "median_ratio": statistics.median(ratios), "min_ratio": min(ratios),
                      "max_ratio": max(ratios)}))


if __name__ == "__main__":
    sys.exit(main())
