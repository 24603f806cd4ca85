"""The trainer's speed and memory against the same model, batch and precision in PyTorch, in turns.

Usage: throughput.py PROGRAM [--model demo|gpt2-124m|tiny] [--device cpu|cuda] [--precision fp32|bf16]
       [--batch N] [--context N] [--against eager compiled captured]
       [--rounds 5] [--warm-up 10] [--steps 40] [--threads N] [--profile FOLDER]
On a GPU: python3 bench/throughput.py build/leapverify --model gpt2-124m --device cuda

Both sides train on random bytes with AdamW (fused), clip the norm of the gradient at 1, and see equally many
tokens a step; captured is the trainer with run.cuda_graph. Each measurement is a process of its own, its warm-up is not
counted. Prints one JSON object a measurement, and one with the medians over the rounds of (the other's time ÷ the
trainer's): above 1 the trainer is faster. With --profile, a profiler then records some steps of the trainer and of
each of --against (eager where that is not given): FOLDER gets a Chrome trace of each, and what profile_table.py makes
of them is printed.
"""

import argparse
import contextlib
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import profile_table

MODELS = {
    "demo": dict(vocabulary=256, context=128, width=128, heads=4, layers=4, batch=16, precision="fp32"),
    "gpt2-124m": dict(vocabulary=50257, context=1024, width=768, heads=12, layers=12, batch=16, precision="bf16"),
    "tiny": dict(vocabulary=300, context=32, width=32, heads=2, layers=2, batch=4, precision="bf16"),
}
LEARNING_RATE, BETAS, WEIGHT_DECAY, CLIP = 3e-4, (0.9, 0.95), 0.1, 1.0
#: Steps of the trainer before those that run.profile_steps counts.
STEPS_BEFORE_PROFILE = 10


def make_gpt2(sizes):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    width, heads = sizes["width"], sizes["heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            batch, time, _ = x.shape
            q, k, v = (part.view(batch, time, heads, -1).transpose(1, 2)
                       for part in self.qkv(self.norm1(x)).chunk(3, -1))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Gpt2(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(sizes["vocabulary"], width)
            self.positions = nn.Embedding(sizes["context"], width)
            self.blocks = nn.Sequential(*(Block() for _ in range(sizes["layers"])))
            self.norm = nn.LayerNorm(width)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, 0, 0.02)

        def forward(self, tokens, targets):
            x = self.tokens(tokens) + self.positions.weight[:tokens.shape[1]]
            logits = F.linear(self.norm(self.blocks(x)), self.tokens.weight)
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return Gpt2()


def step_of_pytorch(sizes, compiled):
    """A function that makes a step, after the warm-up."""
    import torch

    device = torch.device(sizes["device"])
    on_gpu = device.type == "cuda"
    torch.set_num_threads(sizes["threads"] or torch.get_num_threads())
    torch.manual_seed(0)
    model = make_gpt2(sizes).to(device)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY,
                                  fused=True)
    generator = torch.Generator().manual_seed(1)

    def step():
        data = torch.randint(32, 127, (sizes["batch"], sizes["context"] + 1), generator=generator)
        if on_gpu:
            data = data.pin_memory().to(device, non_blocking=True)
        optimizer.zero_grad()
        autocast = torch.autocast(device.type, torch.bfloat16) if sizes["precision"] == "bf16" else (
            contextlib.nullcontext())
        with autocast:
            loss = run(data[:, :-1].contiguous(), data[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss

    for _ in range(sizes["warm_up"]):
        loss = step()
    loss.item()
    return step


def measure_pytorch(sizes, compiled):
    import torch

    step = step_of_pytorch(sizes, compiled)
    start = time.perf_counter()
    for _ in range(sizes["steps"]):
        loss = step()
    loss = loss.item()
    seconds = (time.perf_counter() - start) / sizes["steps"]
    peak = torch.cuda.max_memory_allocated() if sizes["device"] == "cuda" else peak_of_process()
    return {"ms": 1e3 * seconds, "peak_memory_bytes": peak, "loss": loss}


def profile_pytorch(sizes, compiled, trace):
    import torch

    on_gpu = sizes["device"] == "cuda"
    step = step_of_pytorch(sizes, compiled)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(profile_table.STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize()
    profiler.export_chrome_trace(trace)


def peak_of_process():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def model_settings(sizes):
    if sizes["model"] == "demo":
        return {"model.name": "gpt"}
    return {"model.name": "gpt2", "model.gpt2.vocab_size": sizes["vocabulary"],
            "model.gpt2.n_positions": sizes["context"], "model.gpt2.n_embd": sizes["width"],
            "model.gpt2.n_inner": 4 * sizes["width"], "model.gpt2.n_head": sizes["heads"],
            "model.gpt2.n_layer": sizes["layers"], "model.gpt2.embd_pdrop": 0, "model.gpt2.attn_pdrop": 0,
            "model.gpt2.resid_pdrop": 0}


def run_trainer(sizes, program, folder, of_run):
    """The folder of a run with these settings beside those of the bench."""
    import random

    text = folder / "text.txt"
    if not text.exists():
        text.write_bytes(bytes(random.Random(1).choices(range(32, 127), k=1 << 22)))
    run = folder / f"run-{time.monotonic_ns()}"
    settings = {**model_settings(sizes), **of_run, "run.eval_every": 0, "run.eval_sequences": 1,
                "run.checkpoint_every": 0, "run.threads": sizes["threads"], "run.device": sizes["device"],
                "run.precision": sizes["precision"], "run.sample_bytes": 0,
                "batch.sequences": sizes["batch"], "batch.context": sizes["context"], "optimizer.name": "adamw",
                "optimizer.lr": LEARNING_RATE, "optimizer.beta1": BETAS[0], "optimizer.beta2": BETAS[1],
                "optimizer.weight_decay": WEIGHT_DECAY, "optimizer.clip": CLIP, "schedule.warmup": 0,
                "schedule.kind": "constant", "leapverify.enabled": "false"}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([program, "train", "--data", text, "--run", run, *overrides], check=True,
                   stdout=subprocess.DEVNULL)
    return run


def measure_trainer(sizes, program, folder, of_run):
    """Read off the run's metrics, of which a line waits for the device."""
    last = sizes["warm_up"] + sizes["steps"]
    run = run_trainer(sizes, program, folder, {**of_run, "run.steps": last, "run.log_every": sizes["warm_up"]})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = {line["step"]: line for line in lines if "seconds" in line}
    seconds = (steps[last]["seconds"] - steps[sizes["warm_up"]]["seconds"]) / sizes["steps"]
    return {"ms": 1e3 * seconds, "peak_memory_bytes": steps[last]["peak_memory_bytes"],
            "loss": steps[last]["train_loss"]}


def profile_trainer(sizes, program, folder, of_run, trace):
    """With no line of metrics amid the profiled steps, since one waits for the device."""
    last = STEPS_BEFORE_PROFILE + profile_table.STEPS + 1
    run = run_trainer(sizes, program, folder, {**of_run, "run.steps": last, "run.log_every": last,
                                               "run.profile_steps": profile_table.STEPS})
    shutil.copy(run / "profile.json", trace)


#: Of the trainer.
VARIANTS = {"trainer": {}, "captured": {"run.cuda_graph": "true"}}


def measure(what, sizes, program, folder):
    if what in VARIANTS:
        return measure_trainer(sizes, program, folder, VARIANTS[what])
    return json.loads(worker(what, sizes).splitlines()[-1])


def profile(what, sizes, program, folder, trace):
    if what in VARIANTS:
        profile_trainer(sizes, program, folder, VARIANTS[what], trace)
    else:
        worker(what, sizes, str(trace))


def worker(what, sizes, *trace):
    """What a process of its own prints that measures PyTorch, or writes a trace of it."""
    # Given as JSON, so that the worker measures what was asked for and nothing is left over from a round before.
    return subprocess.run([sys.executable, __file__, "--worker", what, json.dumps(sizes), *trace], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def work(what, sizes, *trace):
    compiled = what == "compiled"
    if trace:
        profile_pytorch(json.loads(sizes), compiled, *trace)
    else:
        print(json.dumps(measure_pytorch(json.loads(sizes), compiled)))


def sizes_from(arguments):
    sizes = dict(MODELS[arguments.model])
    for name in ("batch", "context", "precision"):
        if getattr(arguments, name) is not None:
            sizes[name] = getattr(arguments, name)
    if arguments.steps % arguments.warm_up:
        sys.exit(f"--steps {arguments.steps} must be a multiple of --warm-up {arguments.warm_up}")
    return {**sizes, "model": arguments.model, "device": arguments.device, "threads": arguments.threads,
            "steps": arguments.steps, "warm_up": arguments.warm_up}


def measure_all(sizes, against, arguments, folder):
    tokens = sizes["batch"] * sizes["context"]
    found = {what: [] for what in ("trainer", *against)}
    for round_number in range(arguments.rounds):
        for what in found:
            one = measure(what, sizes, arguments.program, folder)
            found[what].append(one)
            print(json.dumps({"round": round_number, "what": what, **one,
                              "tokens_per_second": tokens / one["ms"] * 1e3}), flush=True)
    summary = {"sizes": sizes}
    for what in found:
        summary[f"{what}_ms"] = statistics.median(one["ms"] for one in found[what])
        summary[f"{what}_peak_memory_bytes"] = max(one["peak_memory_bytes"] for one in found[what])
    for what in against:
        ratios = [other["ms"] / own["ms"] for other, own in zip(found[what], found["trainer"])]
        summary[f"{what}_over_trainer"] = {"median": statistics.median(ratios), "min": min(ratios),
                                           "max": max(ratios)}
    print(json.dumps(summary), flush=True)


def profile_all(sizes, arguments, folder):
    traces = []
    for what in ("trainer", *(arguments.against or ["eager"])):
        traces.append(arguments.profile / f"{what}.json")
        profile(what, sizes, arguments.program, folder, traces[-1])
    print(f"\n{profile_table.table_of(traces)}")


def main():
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--context", type=int)
    parser.add_argument("--against", nargs="+", choices=("eager", "compiled", "captured"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument("--profile", type=pathlib.Path, metavar="FOLDER", help="of a Chrome trace of each in the end")
    arguments = parser.parse_args()
    against = arguments.against or (["eager", "compiled", "captured"] if arguments.device == "cuda" else ["eager"])
    sizes = sizes_from(arguments)
    if arguments.profile:
        arguments.profile.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        measure_all(sizes, against, arguments, pathlib.Path(folder))
        if arguments.profile:
            profile_all(sizes, arguments, pathlib.Path(folder))


if __name__ == "__main__":
    main()
