"""Lines of time_to_target.jsonl that are made up, for tests only: what comes out of them is known."""

import math

import numpy

#: By method: the best rate, and how many of AdamW's steps it makes in one of its own at that rate.
METHODS = {
    "adamw": (3e-3, 1.0), "adamw-decay-shortened": (3e-3, 1.25), "adamw+gate-data": (3e-3, 1.02),
    "leapverify": (3e-3, 1.1), "leapverify-off": (3e-3, 1.0), "ema": (5e-3, 1.15), "lookahead": (5e-3, 0.9),
    "snoo": (3e-3, 1.2), "schedulefree": (1e-2, 0.95), "prodigy": (1.0, 0.8), "dadaptation": (1.0, 0.7),
    "muon": (2e-2, 1.4),
}
ARENAS = {"pretrain": 4.0, "finetune": 2.5, "lora": 2.2}
FACTORS = [1 / 9, 1 / 3, 1, 3]
STEPS = 400


def run(arena, method, rate, seed, purpose, pace, offset=0.0, steps=STEPS, cost_steps=0.0):
    """Its loss falls by the logarithm of pace x steps; a step takes a tenth of a second."""
    floor = ARENAS[arena]
    curve = []
    for step in range(10, steps + 1, 10):
        seconds = 0.1 * (step + cost_steps)
        curve.append([step, seconds, 2 * seconds, floor - 0.3 * math.log(max(pace, 1e-3) * step / STEPS) + offset])
    line = {"arena": arena, "method": method, "rate": rate, "seed": seed, "purpose": purpose, "steps": steps,
            "device": "cpu", "curve": curve, "final": curve[-1][3], "cost_steps": cost_steps, "tries": 0,
            "accepted": 0, "rate_scale": 1.0, "peak_bytes": 200 * 2**20}
    if method == "leapverify":
        line.update(tries=12, accepted=3, rate_scale=max(1.0, METHODS["leapverify"][0] / rate),
                    peak_bytes=300 * 2**20)
    return line


def pace_at(method, rate):
    """Slower away from the best rate; LeapVerify hardly where the rate is too small, for it raises it."""
    best, pace = METHODS[method]
    away = math.log(rate / best)
    return pace * math.exp(-(0.1 if method == "leapverify" and away < 0 else 0.5) * abs(away))


def time_to_target(seeds=5, noise=0.01, methods=METHODS, arenas=ARENAS):
    """The grids at seed 0, and the confirming runs of the seeds after it."""
    random = numpy.random.default_rng(3)
    lines = []
    for arena in arenas:
        for method in methods:
            best = METHODS[method][0]
            cost = 7.0 if method == "leapverify" else 0.0
            for factor in FACTORS:
                if method == "muon" and factor == 3:
                    lines.append({key: value for key, value in
                                  run(arena, method, best * 3, 0, "grid", 1).items() if key not in ("curve", "final")})
                    lines[-1]["failed"] = "loss is not finite at step 12"
                    continue
                lines.append(run(arena, method, best * factor, 0, "grid", pace_at(method, best * factor),
                                 cost_steps=cost))
            for seed in range(1, seeds + 1):
                offset = float(random.normal(scale=noise)) if noise else 0.0
                lines.append(run(arena, method, best, seed, "confirm", METHODS[method][1], offset, cost_steps=cost))
    return lines
