"""Results folders whose figures are made up, for tests only."""

import json
import math
import pathlib

import numpy

ENVIRONMENT = """commit 0000000
preset quick
Linux 6.1.0
      2 cpu Some Processor
{gpu}
g++ (Debian) 12.2.0
torch 2.11.0
"""


def write_environment(folder, gpu="no GPU"):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.txt").write_text(ENVIRONMENT.format(gpu=gpu))


def write_lines(folder, name, lines, command="bench/made_up.py"):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (pathlib.Path(folder) / f"{name}.jsonl").write_text(f"# {command}\n{text}")


def spread(random, noise, *size):
    """Factors around 1."""
    return numpy.exp(random.normal(scale=noise, size=size or None))


def step_overhead(seed, slower=1.0, noise=0.01, rounds=20):
    random = numpy.random.default_rng(seed)
    lines = []
    for number in range(rounds):
        bare = 80 * spread(random, noise)
        for way in ("idle", "observing"):
            lines.append({"round": number, "wrapped": way, "bare_ms": bare,
                          "wrapped_ms": 80 * slower * spread(random, noise)})
    return lines + [{"wrapped": "idle", "rounds": rounds}]


def shared_verification(seed, slower=1.0, noise=0.01, rounds=20):
    random = numpy.random.default_rng(seed)
    lines = [{"round": number, "alone_seconds": 0.6 * spread(random, noise),
              "shared_seconds": 0.31 * slower * spread(random, noise)} for number in range(rounds)]
    return [*lines, {"summary": True, "ranks": 2, "sequences": 64}]


def throughput(seed, slower=1.0, noise=0.01, rounds=5):
    random = numpy.random.default_rng(seed)
    sizes = {"model": "demo", "device": "cpu", "precision": "fp32", "batch": 16, "context": 128}
    lines = [{"round": number, "what": what, "ms": mean * spread(random, noise), "peak_memory_bytes": 500_000_000}
             for number in range(rounds) for what, mean in (("trainer", 80 * slower), ("eager", 90))]
    return [*lines, {"sizes": sizes}]


def python_overhead(seed, slower=1.0, noise=0.01, rounds=12):
    random = numpy.random.default_rng(seed)
    return [{"way": way, "step": 1.1 * (1 if way == "bare" else slower) * spread(random, noise),
             "call": 0.01 * (1 if way == "bare" else slower) * spread(random, noise)}
            for _ in range(rounds) for way in ("bare", "idle", "bare", "observing")]


def cost(seed, slower=1.0, noise=0.01, rounds=5):
    random = numpy.random.default_rng(seed)

    def run(variant, rate, seconds, final, **more):
        return {"variant": variant, "lr": rate, "seed": 0, "final": final, "curve": [[600, final]], **more,
                "train_seconds": seconds * spread(random, noise), "cpu_seconds": seconds * spread(random, noise)}

    default = "ema_trend / denoised / rate"
    lines = [run(variant, 0.008, seconds, 1.5, round=number)
             for number in range(rounds) for variant, seconds in (("bare", 90), (default, 90 * slower))]
    return [*lines, run("bare", 0.0005, 90, 2.0), run(default, 0.0005, 90, 1.6)]


def kernels(seed, slower=1.0, noise=0.01):
    random = numpy.random.default_rng(seed)
    entries = []
    for kernel in ("combine-2/leapverify", "combine-2/foreach"):
        times = slower * spread(random, noise, 50)
        first, median, third = numpy.quantile(times, (0.25, 0.5, 0.75))
        entries.append({"name": f"{kernel}/gpt2/iterations:50/manual_time", "run_type": "iteration", "iterations": 50,
                        "bytes": 1e9, "GB/s": 100 / median, "copy_GB/s": 100, "percent_of_copy": 100 / median,
                        "spread_percent": 100 * (third - first) / median})
    entries.append({"name": "gram-3/leapverify/gpt2/iterations:50/manual_time", "error_message": "not enough memory"})
    return {"context": {"device": "cpu", "torch_threads": "2"}, "benchmarks": entries}


CLOSED_LOOP_RATES = [3e-4, 1e-3, 3e-3, 8e-3, 1.6e-2]


def closed_loop(seed, worse=1.0, noise=0.004, seeds=3):
    """The bare optimizer has its optimum at 3e-3; the default knows it from smaller rates."""
    random = numpy.random.default_rng(seed)
    lines = []
    variants = {"bare": 0.3, "ema_trend / denoised / rate": 0.02, "linear / denoised / both": 0.05,
                "linear / current / leap": 0.29}
    for variant, slope in variants.items():
        for rate in CLOSED_LOOP_RATES if "leap" not in variant else CLOSED_LOOP_RATES[::4]:
            for number in range(seeds if variant in list(variants)[:2] else 1):
                away = math.log(rate / 3e-3)
                loss = worse * (1.7 + (slope if away < 0 else 0.3) * away**2 / 3) * spread(random, noise)
                curve = [[step, loss * 600 / step] for step in range(60, 601, 60)]
                verified = variant != "bare"
                lines.append({"variant": variant, "lr": rate, "seed": number, "device": "cpu", "steps": 600,
                              "final": loss, "train_seconds": 50.0, "tries": 8 * verified, "accepted": 4 * verified,
                              "cost_steps": 7.5 * verified, "rates": [[60, 2.0]] if verified else [], "curve": curve,
                              "average_curve": curve if verified else []})
    return lines


def calibration(seed, false_accepts=0.02, leaps=20000):
    random = numpy.random.default_rng(seed)
    candidates = [{"candidate": number, "step": 50, "horizon": 5, "pairs": 256, "mean_gain": 0.01, "deviation": 0.02,
                   "skewness": 0.1, "kurtosis": 3.0, "mean_clipped_at_4_deviations": 0.0} for number in (1, 2)]
    rule = {"rule": "sequential", "alpha": 0.05, "max_sequences": 128, "pilot": 8}

    def judged(rate, **more):
        accepted = int(random.binomial(leaps, rate))
        return {**rule, **more, "leaps": leaps, "accepted": accepted, "rate": accepted / leaps,
                "upper_95": rate + 0.002, "mean_pairs": 90.0, "decided_early": 300}

    return [*candidates, *(judged(false_accepts, candidate=number, step=50, horizon=5) for number in (1, 2)),
            judged(false_accepts, null="gaussian", effect=0.0), judged(0.9, null="gaussian", effect=0.5)]
