"""One run of a method in an arena."""

from __future__ import annotations

import contextlib
import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from harness import text
from harness.methods import METHODS, LeapVerify, Method, trained
from harness.model import LINEAR, SIZES, Gpt, Size, sequence_losses
from torch import Tensor, nn

#: Steps of a run, the lowest rate of its grid (what people start with), and what it trains on.
ARENAS = {"pretrain": {"steps": 400, "lowest_rate": 2.5e-4, "text": "python"},
          "finetune": {"steps": 200, "lowest_rate": 5e-5, "text": "headers"},
          "lora": {"steps": 200, "lowest_rate": 2e-4, "text": "headers"}}
#: Of the model that finetune and lora start from, on the other text.
BASE = {"steps": 1200, "rate": 4e-3, "seed": 1000}
POINTS = 40
# So short a run would pay for no try.
SMOKE_OPTIONS = {"observe_every": 5, "max_overhead": math.inf}
GATE_SEQUENCES = 512
VALIDATION_SEQUENCES = 128


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Trains; `job` has arena, method, rate, seed, purpose, steps, size, folder. Returns the line of the log."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if job["size"] == "cuda" else "cpu")
    size = SIZES[job["size"]]
    line = {key: job[key] for key in ("arena", "method", "rate", "seed", "purpose", "steps")}
    line["device"] = device.type
    try:
        return {**line, **_train(job, size, device)}
    except Exception as error:  # the rest of the bench goes on
        return {**line, "failed": f"{type(error).__name__}: {error}".splitlines()[0]}


def _train(job: dict[str, Any], size: Size, device: torch.device) -> dict[str, Any]:
    data = text.read(ARENAS[job["arena"]]["text"], device)
    model = _model(job, size, device)
    method = _method(job, model, data, size)
    validation = data.batch("validation", 0, 0, VALIDATION_SEQUENCES, size.context + 1)
    _forget_peak(device)
    clock = Clock(device)
    curve: list[list[float]] = []
    cost: list[list[float]] = []
    every = max(1, job["steps"] // POINTS)
    for step in range(1, job["steps"] + 1):
        with clock:
            _step(method, data.batch(method.split, job["seed"], step, size.batch, size.context + 1), device)
        if step % every == 0 or step == job["steps"]:
            score = method.judged(lambda: _loss(model, validation, device))
            if not math.isfinite(score):
                raise RuntimeError(f"diverged before step {step}")
            curve.append([step, round(clock.seconds, 4), round(clock.cpu_seconds, 4), round(score, 6)])
            cost.append([step, round(method.spent()["cost_steps"], 2)])
    return {"curve": curve, "cost_curve": cost, "final": curve[-1][3], **method.spent(), "peak_bytes": _peak(device)}


def _step(method: Method, batch: Tensor, device: torch.device) -> None:
    method.zero_grad()
    with _precision(device):
        loss = sequence_losses(method.model, batch).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(trained(method.model), 1.0)
    method.step()


def _model(job: dict[str, Any], size: Size, device: torch.device) -> nn.Module:
    torch.manual_seed(job["seed"])
    model = Gpt(size).to(device)
    if job["arena"] != "pretrain":
        model.load_state_dict(torch.load(Path(job["folder"]) / "base.pt", map_location=device))
    if job["arena"] == "lora":
        import peft

        model = peft.inject_adapter_in_model(peft.LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR), model)
    return model


def _method(job: dict[str, Any], model: nn.Module, data: text.Text, size: Size) -> Method:
    kind = METHODS[job["method"]]
    if not issubclass(kind, LeapVerify):
        return kind(model, job["rate"], job["steps"])
    gate = data.batch("gate", 0, 0, GATE_SEQUENCES, size.context + 1)
    return kind(model, job["rate"], job["steps"], gate, size.batch, **(SMOKE_OPTIONS if job["size"] == "smoke" else {}))


def make_base(size_name: str, steps: int, folder: Path) -> None:
    """The pre-trained model, once for all runs of a folder."""
    path = folder / "base.pt"
    if path.exists():
        return
    job = {"arena": "pretrain", "method": "adamw", "rate": BASE["rate"], "seed": BASE["seed"], "steps": steps}
    device = torch.device("cuda" if size_name == "cuda" else "cpu")
    size = SIZES[size_name]
    data = text.read("python", device)
    model = _model(job, size, device)
    method = Method(model, job["rate"], steps)
    for step in range(1, steps + 1):
        _step(method, data.batch(method.split, job["seed"], step, size.batch, size.context + 1), device)
    part = path.with_suffix(".part")
    torch.save(model.state_dict(), part)
    part.replace(path)


def _precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


@torch.no_grad()
def _loss(model: nn.Module, sequences: Tensor, device: torch.device) -> float:
    with _precision(device):
        return float(torch.cat([sequence_losses(model, part) for part in sequences.split(64)]).mean())


class Clock:
    """Seconds, and those of this process's processors, spent within."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def _now(self) -> tuple[float, float]:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *_: object) -> None:
        seconds, cpu = self._now()
        self.seconds += seconds - self._start[0]
        self.cpu_seconds += cpu - self._start[1]


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> int:
    """Of the device; on a CPU of the whole process, Python and torch included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
