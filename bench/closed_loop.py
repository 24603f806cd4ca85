"""Does it pay? The demo's kind of model trained at many learning rates with and without LeapVerify.

Usage: closed_loop.py PATH_OF_LEAPVERIFY TEXT FOLDER [--device cpu|cuda] [--model demo|gpt2-124m]
                      [--grid default|wide|best|start] [--seconds N] [--jobs 2] [--smoke]

On the CPU the model has 0.4M parameters and trains for 600 steps, on a GPU 11M and 1000; gpt2-124m is GPT-2 from fresh
weights on a GPU for 500 steps, whose TEXT is tokens of GPT-2 (docs/data.md). A folder is of one of them.
One line of FOLDER/closed_loop.jsonl a run. Runs that are there already are not repeated, so it can be stopped at any
time and called again; with --seconds it stops by itself. report.py makes tables and pictures of them.
"""

import argparse
import concurrent.futures
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

from corpus import check_text, extensions_of, fingerprint, suffix_of
from runs_in_parts import lines_of

RATES = {"cpu": [3e-4, 5e-4, 1e-3, 3e-3, 8e-3, 1.6e-2, 3.2e-2],
         "cuda": [3e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3],
         "gpt2-124m": [3e-4, 3e-5, 1e-3, 1e-4, 3e-3],
         "smoke": [1e-3, 8e-3]}
SETTINGS = {
    "run.steps": 600, "run.threads": 1, "run.device": "cpu", "run.sample_bytes": 0,
    "run.eval_every": 25, "run.eval_sequences": 256, "run.checkpoint_every": 0,
    "model.context": 64, "model.width": 96, "model.heads": 4, "model.layers": 3,
    "batch.sequences": 16, "optimizer.weight_decay": 0.01, "schedule.warmup": 60, "schedule.final_share": 0.02,
}
# What is different on a GPU.
CUDA_SETTINGS = {
    "run.steps": 1000, "run.threads": 2, "run.device": "cuda", "run.precision": "bf16", "model.context": 256,
    "model.width": 384, "model.heads": 6, "model.layers": 6, "batch.sequences": 64, "schedule.warmup": 100,
}
GPT2_SETTINGS = {
    "run.steps": 500, "run.threads": 2, "run.device": "cuda", "run.precision": "bf16", "run.eval_every": 50,
    "run.eval_sequences": 128, "model.name": "gpt2", "model.gpt2.embd_pdrop": 0, "model.gpt2.attn_pdrop": 0,
    "model.gpt2.resid_pdrop": 0, "batch.context": 512, "optimizer.weight_decay": 0.1, "schedule.warmup": 50,
}
SMOKE_SETTINGS = {
    "run.steps": 60, "run.eval_every": 10, "run.eval_sequences": 16, "model.context": 16, "model.width": 16,
    "model.heads": 2, "model.layers": 1, "batch.sequences": 4, "schedule.warmup": 6,
    # So short a run would pay for no try.
    "leapverify.observe_every": 5, "leapverify.max_overhead": ".inf",
}
PREDICTORS = ["ema_trend", "linear", "least_squares", "outer_momentum", "low_rank", "quadratic"]


def settings_of(scale):
    """Of a key of RATES."""
    if scale == "gpt2-124m":
        shared = ("run.sample_bytes", "run.checkpoint_every", "batch.sequences", "schedule.final_share")
        return {**{key: SETTINGS[key] for key in shared}, **GPT2_SETTINGS}
    return {**SETTINGS, **{"cuda": CUDA_SETTINGS, "smoke": SMOKE_SETTINGS}.get(scale, {})}


def variant(predictor, reference, on_accept):
    return f"{predictor} / {reference} / {on_accept}"


# What the preset verified is.
VERIFIED = variant("ema_trend", "denoised", "rate")

# The variants that reach the lowest losses beside it.
BEST = [variant(predictor, "denoised", "rate") for predictor in ("outer_momentum", "low_rank", "least_squares")]


# The default cap pays for a single leap of so short a run, which is worth nothing without the next.
AMPLE = [variant("ema_trend", "denoised", on_accept) + " / max_overhead 0.05" for on_accept in ("both", "leap")]


# From a rate below the schedule's, and down to 0 at the end.
START = VERIFIED + " / rate.start 0.0625 / rate.anneal 0.2"


# Presets that need no learning rate.
FREE = "free"
AUTO = "auto"


def options_of(name):
    """Overrides of a variant: "bare", "free", "auto", or predictor / reference / on_accept and perhaps more over the preset verified."""
    if name == "bare":
        return {"leapverify.enabled": "false"}
    if name in (FREE, AUTO):
        return {"leapverify.enabled": "true", "leapverify.preset": name}
    predictor, reference, on_accept, *more = name.split(" / ")
    # Curves are of interest for the preset alone; scoring them takes a fifth of a run.
    scoring = {"run.eval_average": "true"} if name == VERIFIED else {"run.eval_every": 0}
    return {**scoring, "leapverify.enabled": "true", "leapverify.preset": "verified", "leapverify.predictor": predictor,
            "leapverify.reference": reference, "leapverify.on_accept": on_accept,
            **{f"leapverify.{key}": value for key, value in (one.split(" ") for one in more)}}


def runs_of(grid, rates):
    """(variant, rate, seed), the most telling first."""
    for rate in rates:
        yield "bare", rate, 0
        yield VERIFIED, rate, 0
    for rate in rates:
        yield AUTO, rate, 0
        yield FREE, rate, 0
    if grid == "start":
        for rate in rates:
            yield START, rate, 0
        return
    if grid == "best":
        for name in BEST + AMPLE:
            for rate in rates:
                yield name, rate, 0
        for seed in (1, 2):
            for name in ["bare", VERIFIED, AUTO, *BEST]:
                for rate in rates:
                    yield name, rate, seed
        return
    for rate in rates:
        yield variant("ema_trend", "denoised", "both"), rate, 0
    predictors = PREDICTORS[:3] if grid == "default" else PREDICTORS
    telling = [rates[0], rates[2], rates[3], rates[1], rates[4], rates[6], rates[5]]
    for rate in telling[:2] if grid == "default" else telling:
        for predictor in predictors:
            for reference in ("denoised", "current"):
                for on_accept in ("rate", "both", "leap"):
                    yield variant(predictor, reference, on_accept), rate, 0
    for seed in (1, 2):
        for rate in rates:
            yield "bare", rate, seed
            yield VERIFIED, rate, seed


def model_of(scale):
    return scale if scale == "gpt2-124m" else "demo"


def of_text(text, scale):
    """Settings that depend on the text."""
    return {"data.extensions": extensions_of(text)} if model_of(scale) == "demo" else {}


def checked_lines(log, text, scale):
    """The lines of a log, which are of runs on this text; ends the program where they are not."""
    try:
        lines = lines_of(log)
    except ValueError as error:
        sys.exit(str(error))
    check_text(lines, fingerprint(text, suffix_of(of_text(text, scale))), log)
    return lines


def train(program, text, scale, name, rate, seed, **more):
    """One run; `more` are overrides of the program over those of this bench. Returns its line of the log."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        settings = {**settings_of(scale), **of_text(text, scale), **options_of(name), "optimizer.lr": rate, "run.seed": seed, **more}
        overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        start = time.monotonic()
        result = subprocess.run([program, "train", "--data", text, "--run", run, *overrides],
                                capture_output=True, text=True)
        line = {"variant": name, "lr": rate, "seed": seed, "model": model_of(scale),
                "device": settings["run.device"], "steps": settings["run.steps"],
                "text": fingerprint(text, suffix_of(settings)),
                "seconds": round(time.monotonic() - start, 1)}
        if result.returncode != 0:
            said = result.stderr.strip().splitlines()
            return {**line, "failed": said[-1] if said else f"ended with {result.returncode}"}
        metrics = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
        trace = []
        if (run / "trace.jsonl").exists():
            trace = [json.loads(text) for text in (run / "trace.jsonl").read_text().splitlines()]
    curve = [[m["step"], m["validation_loss"]] for m in metrics if "validation_loss" in m]
    average = [[m["step"], m["average_validation_loss"]] for m in metrics if "average_validation_loss" in m]
    leaps = [event for event in trace if event["event"] == "leap"]
    looks = [event for event in trace if event["event"] == "look"]
    forwards = sum(event["forwards"] for event in leaps + looks)
    cost = next((event["step_cost"] for event in trace if event["event"] == "start"), math.inf)
    return {**line, "final": curve[-1][1], "tries": len(leaps),
            "train_seconds": [m["seconds"] for m in metrics if "seconds" in m][-1],
            "accepted": sum(event["outcome"] != "rejected" for event in leaps),
            "looks": len(looks), "went_back": sum(event["outcome"] == "went_back" for event in looks),
            "cost_steps": round(forwards / cost, 1),
            "rates": [[event["step"], event["to"]] for event in trace if event["event"] == "rate"],
            "curve": curve, "average_curve": average}


def first_below(curve, loss):
    """First step at which the curve is at or below the loss; None where it never is."""
    return next((step for step, value in curve if value <= loss), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--model", choices=["demo", "gpt2-124m"], default="demo")
    parser.add_argument("--grid", choices=["default", "wide", "best", "start"], default="default")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a tiny model, a few steps and the grid start: whether it runs")
    arguments = parser.parse_args()
    if arguments.model == "gpt2-124m" and arguments.device == "cpu":
        parser.error("--model gpt2-124m needs --device cuda")
    scale = arguments.device if arguments.model == "demo" else arguments.model
    if arguments.smoke:
        if scale != "cpu":
            parser.error("--smoke is for the demo's model on the CPU")
        scale, arguments.grid = "smoke", "start"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    log = arguments.folder / "closed_loop.jsonl"
    lines = checked_lines(log, arguments.text, scale)
    expected = {"device": arguments.device, "steps": settings_of(scale)["run.steps"], "model": arguments.model}
    for line in lines:
        held = {name: line.get(name, "demo" if name == "model" else "unknown") for name in expected}
        if held != expected:
            parser.error(f"{log} holds runs of {held}, expected {expected}: name another folder")
    done = {(line["variant"], line["lr"], line["seed"]) for line in lines}
    wanted = [run for run in dict.fromkeys(runs_of(arguments.grid, RATES[scale])) if run not in done]
    end = time.monotonic() + arguments.seconds

    def go(run):
        if time.monotonic() >= end:
            return None
        return train(arguments.program, arguments.text, scale, *run)

    ended = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool, log.open("a") as file:
        running = [pool.submit(go, run) for run in wanted]
        for number, future in enumerate(concurrent.futures.as_completed(running), 1):
            line = future.result()
            if line is None:
                ended += 1
                continue
            ended += "failed" not in line
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"{number} of {len(wanted)}: {line['variant']} at {line['lr']:g}, seed {line['seed']}: "
                  f"{line.get('final', line.get('failed'))}", flush=True)
    return 0 if ended or not wanted else 1


if __name__ == "__main__":
    sys.exit(main())
