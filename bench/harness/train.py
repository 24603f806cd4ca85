"""One run of a method in an arena."""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness.arenas import ARENAS, TEXT_ARENAS, Arena
from harness.methods import METHODS, LeapVerify, Method, Recipe, trained
from harness.model import SIZES
from harness.tasks import Task, base_name, task_of
from torch import nn

#: Of the models that arenas with `base_steps` start from.
BASE = {"rate": 4e-3, "seed": 1000}
POINTS = 40
# So short a run would pay for no try.
SMOKE_OPTIONS = {"observe_every": 5, "max_overhead": math.inf}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Trains; `job` has arena, method, rate, seed, purpose, steps, size, folder, texts, and where they are not
    the arena's recipe, the method's defaults: warmup, options. Returns the line of the log."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if job["size"] == "cuda" else "cpu")
    line = {key: value for key, value in job.items() if key not in ("size", "folder", "texts")}
    line["device"] = device.type
    try:
        return {**line, **_train(job, device)}
    except Exception as error:  # the rest of the bench goes on
        return {**line, "failed": f"{type(error).__name__}: {error}".splitlines()[0]}


def _train(job: dict[str, Any], device: torch.device) -> dict[str, Any]:
    arena = ARENAS[job["arena"]]
    task = task_of(arena, SIZES[job["size"]], device, Path(job["folder"]), job["texts"])
    recipe = replace(arena.recipe, warmup=job["warmup"]) if "warmup" in job else arena.recipe
    method = _method(job, task, recipe)
    validation = task.validation()
    _forget_peak(device)
    clock = Clock(device)
    curve: list[list[float]] = []
    cost: list[list[float]] = []
    every = max(1, job["steps"] // POINTS)
    for step in range(1, job["steps"] + 1):
        with clock:
            _step(method, task, task.batch(method.split, job["seed"], step))
        if step % every == 0 or step == job["steps"]:
            score = method.judged(lambda: _loss(method.model, task, validation))
            if not math.isfinite(score):
                raise RuntimeError(f"diverged before step {step}")
            curve.append([step, round(clock.seconds, 4), round(clock.device_seconds, 4), round(score, 6)])
            cost.append([step, round(method.spent()["cost_steps"], 2)])
    return {**task.fingerprints, "curve": curve, "cost_curve": cost, "final": curve[-1][3], **method.spent(),
            "peak_bytes": _peak(device)}


def _step(method: Method, task: Task, batch: Any) -> None:
    method.zero_grad()
    with _precision(task.device):
        loss = task.losses(method.model, batch).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(trained(method.model), 1.0)
    method.step()


def _method(job: dict[str, Any], task: Task, recipe: Recipe) -> Method:
    kind = METHODS[job["method"]]
    model = task.model(job["seed"])
    if not issubclass(kind, LeapVerify):
        return kind(model, job["rate"], job["steps"], recipe)
    options = {**(SMOKE_OPTIONS if job["size"] == "smoke" else {}), **job.get("options", {})}
    return kind(model, job["rate"], job["steps"], recipe, task.gate(), task.losses, task.batch_size, **options)


def make_bases(size_name: str, arenas: Iterable[Arena], folder: Path, texts: dict[str, str], most_steps: int | None = None) -> None:
    """The pre-trained models of arenas, once for all runs of a folder."""
    for base_steps in sorted({arena.base_steps for arena in arenas} - {0}):
        _make_base(size_name, base_steps, min(base_steps, most_steps or base_steps), folder, texts)


def _make_base(size_name: str, base_steps: int, steps: int, folder: Path, texts: dict[str, str]) -> None:
    device = torch.device("cuda" if size_name == "cuda" else "cpu")
    task = task_of(TEXT_ARENAS["pretrain"], SIZES[size_name], device, folder, texts)
    path = folder / base_name(task.fingerprints["text"], base_steps)
    if path.exists():
        return
    print(f"pre-training {path.name}", flush=True)
    method = Method(task.model(BASE["seed"]), BASE["rate"], steps)
    for step in range(1, steps + 1):
        _step(method, task, task.batch(method.split, BASE["seed"], step))
    part = path.with_suffix(".part")
    torch.save(method.model.state_dict(), part)
    part.replace(path)


def _precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


@torch.no_grad()
def _loss(model: nn.Module, task: Task, parts: list[Any]) -> float:
    with _precision(task.device):
        return float(torch.cat([task.losses(model, part) for part in parts]).mean())


class Clock:
    """Seconds, and those of the device, spent within: of this process's processors, or of a GPU between two events."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self.seconds = 0.0
        self.device_seconds = 0.0

    def __enter__(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self._events[0].record()
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            self._events[1].record()
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._start[0]
        self.device_seconds += (1e-3 * self._events[0].elapsed_time(self._events[1]) if self._cuda
                                else time.process_time() - self._start[1])


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
