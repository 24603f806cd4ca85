"""Small run folders, with lines as the trainer writes them."""

import json
import math

OPTIONS = {
    "enabled": True, "mode": "leap", "observe_every": 10, "probes": 2, "predictor": "ema_trend",
    "window": 4, "decay": 0.5, "min_signal_to_noise": 0.0,
    "portfolio": ["ema_trend", "outer_momentum", "low_rank"], "half_moments": False,
    "snapshots": "float32", "reference": "denoised", "denoise_decay": 0.9, "trust_path": 0.5,
    "trust_norm": 0.1, "on_accept": "both", "rate.growth": 1.5, "rate.largest": 1024.0,
    "rate.smallest": 1.0, "rate.look_back": 2, "rate.max_hold": 8, "horizons": [],
    "least_regime": "chaotic", "first_leap": 0, "max_overhead": 0.05, "savings_share": 0.25,
    "max_backoff": 8, "cascade": 1, "detector.signal": "delta_cosine", "detector.per_rate": False,
    "detector.thresholds": "percentile", "detector.stable_at_least": 0.999489,
    "detector.chaotic_at_most": 0.99627, "detector.stable_percentile": 70.0,
    "detector.chaotic_percentile": 30.0, "detector.burn_in": 4, "detector.hysteresis": 2,
    "verification.rule": "sequential", "verification.sequences": 16, "verification.margin": 0.0001,
    "verification.proximity_tolerance": 0.05, "verification.adaptive_window": 10,
    "verification.alpha": 0.05, "verification.pilot": 8, "verification.clip": 4.0,
    "verification.max_sequences": 128, "verification.when": "immediate",
    "verification.settle_steps": 20, "gate": "fresh", "max_gate_passes": 10, "moments": "keep",
    "moment_scale": 1.0, "schedule": "keep", "data": "keep", "batch_norm": "keep",
    "trace_losses": False,
}
STEP_COST = 48.0
DIGEST = "43dd691c673498bd"


def start(**changed):
    options = {key.replace("__", "."): value for key, value in changed.items()}
    return {"event": "start", "step": 0, "schema": 2, "planned_steps": 200,
            "step_cost": STEP_COST, "memory_bytes": 20219904, "options": {**OPTIONS, **options}}


def observation(step, loss, regime="transition", horizons=(), reason="too few snapshots"):
    return {"event": "observation", "step": step, "probe_loss": loss, "signal": 0.87,
            "reading": regime, "stable_at_least": "nan", "chaotic_at_most": "nan",
            "regime": regime,
            **({"action": "try", "horizons": list(horizons)} if horizons
               else {"action": "wait", "reason": reason})}


def candidate(step, horizon, verdict, reference=3.0, gain=0.1, pairs=32, **more):
    words = {"accepted": "the capital betted on a gain reached 1 / alpha",
             "rejected": "the capital betted against a gain reached 1 / alpha",
             "undecided": "overhead cap reached"}[verdict]
    return {"event": "candidate", "step": step, **more, "horizon": horizon, "verdict": verdict,
            "reason": words, "non_finite": 0, "reference_loss": reference,
            "candidate_loss": reference - gain, "limit": reference - 0.0001, "pairs": pairs,
            "capital_for": 23.0, "capital_against": 1.0, "digest": DIGEST}


def leap(step, outcome, forwards, horizon=None, false_accepts=0.0, **worth):
    return {"event": "leap", "step": step, "outcome": outcome,
            **({} if outcome == "rejected" else {"horizon": horizon}), **worth,
            "forwards": forwards, "false_accepts": false_accepts, "gate_passes": 0.5,
            "digest_before": DIGEST, "digest_after": DIGEST}


def rate(step, before, after, reason="a candidate verified"):
    return {"event": "rate", "step": step, "from": before, "to": after, "reason": reason}


def every_verdict():
    """A trace in which each verdict occurs, and what is no try beside it."""
    untested = {"event": "candidate", "step": 60, "horizon": 20, "verdict": "rejected",
                "reason": "beyond the trust region", "non_finite": 0, "digest": DIGEST}
    worth = {"gain": 0.09, "gain_lower_bound": 0.05, "fall_per_step": 0.004, "steps_saved": 12.5}
    return [
        start(),
        observation(10, 5.1),
        {"event": "failure", "step": 20, "reason": "out of memory", "forwards": 2, "off": False},
        observation(30, 4.1, "chaotic", [5, 20]),
        candidate(30, 5, "accepted", 4.0), candidate(30, 20, "rejected", 3.9, -0.2),
        leap(30, "committed", 70, 5, 0.1, **worth), rate(30, 1.0, 1.5),
        rate(40, 1.5, 1.2, "the schedule has climbed"),
        observation(40, 3.7, "chaotic", [5, 20]),
        candidate(40, 20, "accepted", 3.6), leap(40, "rate_only", 64, 20, 0.15),
        rate(40, 1.2, 1.2 * 1.5 * 1.5),
        observation(50, 3.4, "transition", [5, 20]),
        candidate(50, 5, "accepted", 3.3), leap(50, "rate_only", 66, 5, 0.2),
        observation(60, 3.2, "transition", [5, 20]),
        candidate(60, 5, "undecided", 3.1, 0.001, 16), untested,
        leap(60, "rejected", 40, None, 0.25),
        observation(70, 3.1, "stable", reason="back-off after rejections"),
        observation(80, 3.0, "stable", [5, 20]),
        candidate(80, -20, "accepted", 2.9, 0.05), rate(80, 2.7, 1.8, "the weights have got worse"),
        leap(80, "rejected", 48, None, 0.3),
        observation(90, 2.9, "stable", [5, 20]),
        {"event": "failure", "step": 90, "reason": "<no> \"batch\" came", "forwards": 3,
         "off": True},
        # Held back by the largest factor, so the cap counts it.
        observation(100, 2.8, "stable", [5]),
        candidate(100, 5, "accepted", 2.7), leap(100, "rate_only", 50, 5, 0.35),
        rate(100, 1.8, 2.0),
    ]


LOOK_REASONS = {"better": "the capital betted on the average of now reached 1 / alpha",
                "went_back": "the capital betted on the best so far reached 1 / alpha",
                "slowed_down": "overhead cap reached", "not_shown": "overhead cap reached"}


def look(step, outcome, best_step, loss, best_loss, pairs, forwards):
    losses = {"loss": loss, "best_loss": best_loss, "limit": loss - 0.0001, "pairs": pairs, "capital_for": 1.0,
              "capital_against": 23.0} if pairs else {}
    return {"event": "look", "step": step, "outcome": outcome, "best_step": best_step,
            "reason": LOOK_REASONS[outcome], **losses, "forwards": forwards, "gate_passes": 0.1,
            "digest_before": DIGEST, "digest_after": DIGEST}


def looked_at(first=0):
    """A trace of a free rate with each outcome of a look, and one that failed."""
    begin = {**start(probes=0, rate__free=True, rate__looks=5), **({"event": "resume", "step": first} if first else {})}
    events = [
        {**rate(2, 0.001, 0.1, "the stride is found"), "rate": 3e-5},
        look(3, "not_shown", 0, 0, 0, 0, 16), look(13, "better", 0, 4.1, 4.6, 32, 70),
        {"event": "observation", "step": 20, "regime": "transition", "action": "wait",
         "reason": "with rate.free no candidates are tried"},
        look(50, "slowed_down", 13, 3.4, 3.401, 48, 96),
        {**rate(50, 0.1, 0.05, "no better average was shown"), "rate": 1.5e-5},
        look(83, "went_back", 13, 2.9, 2.8, 32, 64), {**rate(83, 0.05, 0.025, "an earlier average is better"), "rate": 7.5e-6},
        {"event": "failure", "step": 98, "reason": "out of memory", "forwards": 1, "off": False},
    ]
    return [begin, *({**event, "step": first + event["step"]} for event in events)]


def looked_at_run(folder, lines=None):
    return write_run(folder, looked_at(), metrics(2.1) if lines is None else lines)


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


CONFIG = """run:
  folder: ""
  seed: 0
  steps: 200
data:
  path: "/data/a: b"
model:
  name: gpt
  vocabulary: 256
  lora:
    rank: 0
optimizer:
  lr: {lr}
leapverify:
  enabled: {enabled}
"""


def metrics(final, steps=200, every=10, scored=50, rate=3e-4, seconds_a_step=0.1):
    """A loss that falls from 5.5 as 1 / step, to `final` at the last of 200 steps."""
    lines = []
    for step in range(every, steps + 1, every):
        value = final + 30.0 * (1 / step - 1 / 200)
        lines.append({"step": step, "train_loss": value + 0.1 * math.sin(step), "lr": rate,
                      "tokens_per_second": 5967.4, "seconds": step * seconds_a_step,
                      "peak_memory_bytes": 519385088})
        if step % scored == 0:
            lines.append({"step": step, "validation_loss": value})
    return lines


def write_run(folder, trace, lines, lr=3e-4, enabled=True):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(lr=lr, enabled=str(enabled).lower()))
    write_lines(folder / "metrics.jsonl", lines)
    write_lines(folder / "trace.jsonl", trace)
    return folder


def bare_run(folder):
    """LeapVerify off."""
    return write_run(folder, [start(enabled=False)], metrics(2.4), enabled=False)


def leaping_run(folder):
    return write_run(folder, every_verdict(), metrics(2.1, seconds_a_step=0.11))
