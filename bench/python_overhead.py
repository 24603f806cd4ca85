"""What the Python wrapper costs when no leap is tried: steps of GPT-2 124M, bare and wrapped, in turns, in one process.

Usage: python_overhead.py [--rounds 20] [--device cpu|cuda] [--batch 1] [--context 64] [--threads N] [--layers 12]
                          [--width 768]

idle: nothing is ever due. observing: the defaults, with the average at every step and a snapshot of it at every tenth.
The training step is forward, backward and AdamW (fused). Prints one JSON object a step and one summary each: the
whole step's median over that of the bare steps before and after it, and the wrapper's own call, without the base
optimizer's step in it, as a share of the bare step.
"""

import argparse
import json
import math
import statistics
import time

import torch
import transformers

import leapverify
from leapverify.transformers import HuggingFaceEvaluator


class Measured:
    """One of the ways to step; all train the same model in turns, so that each pays alike."""

    def __init__(self, model, options, gate):
        self.base = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
        self.inner = 0.0
        self.base.register_step_pre_hook(lambda *_: self._begin())
        self.base.register_step_post_hook(lambda *_: self._end())
        self.optimizer = self.base
        if options is not None:
            evaluator = HuggingFaceEvaluator(model, gate, sequences_per_step=8)
            self.optimizer = leapverify.LeapVerify(self.base, evaluator, **options)

    def _begin(self):
        synchronize()
        self.inner = -time.perf_counter()

    def _end(self):
        synchronize()
        self.inner += time.perf_counter()


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=arguments.layers, n_embd=arguments.width)
    model = transformers.GPT2LMHeadModel(config).to(arguments.device)
    tokens = torch.randint(50257, (arguments.batch, arguments.context), device=arguments.device)
    gate = [{"input_ids": row, "labels": row} for row in torch.randint(50257, (256, arguments.context))]
    never = {"first_leap": 10**9, "probes": 0, "least_regime": "chaotic"}
    idle = {**never, "reference": "current", "on_accept": "rate", "observe_every": 10**9}
    ways = {"bare": Measured(model, None, gate), "idle": Measured(model, idle, gate),
            "observing": Measured(model, {**never, "max_overhead": math.inf}, gate)}

    def step(name):
        way = ways[name]
        synchronize()
        start = time.perf_counter()
        way.optimizer.zero_grad()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        synchronize()
        call = time.perf_counter()
        way.optimizer.step()
        synchronize()
        end = time.perf_counter()
        return {"way": name, "step": end - start, "call": end - call - way.inner}

    for name in ways:  # state, and what is allocated once
        step(name)
    times = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name in ("bare", "idle", "bare", "observing"):
            line = step(name)
            times[name].append(line)
            print(json.dumps(line), flush=True)
    bare = statistics.median(line["step"] for line in times["bare"])
    own = statistics.median(line["call"] for line in times["bare"])
    for name in ("idle", "observing"):
        print(json.dumps({
            "way": name, "rounds": arguments.rounds, "device": arguments.device,
            "parameters": sum(p.numel() for p in model.parameters()), "bare_step_seconds": bare,
            "step_ratio": statistics.median(line["step"] for line in times[name]) / bare,
            "call_share": (statistics.median(line["call"] for line in times[name]) - own) / bare,
            "mean_call_share": (statistics.fmean(line["call"] for line in times[name]) - own) / bare,
        }), flush=True)


if __name__ == "__main__":
    main()
