"""What changes while a wrapper lives: its core, where that core's events go, and what one core takes over from another."""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _core
from ._access import ModelAccess
from ._ranks import Ranks


@dataclass
class Live:
    """Held by reference, for Lightning makes copies of an optimizer's attributes."""

    options: _core.Options
    planned_steps: int
    engine: _core.Engine | None = None
    ranks: Ranks | None = None
    model: ModelAccess | None = None
    sharded: bool = False
    trace_file: _core.TraceFile | None = None
    trace_bytes: int = 0


def sink(live: Live, trace: str | Callable[[dict[str, Any]], None] | None) -> Callable[[str], None]:
    """Takes the core's events. Refers to `live` weakly, for that holds the core, which holds this."""
    reference = weakref.ref(live)
    failed: list[Exception] = []

    def to_function(event: str) -> None:
        assert callable(trace)
        try:
            trace(json.loads(event))
        except Exception as error:
            if not failed:
                warnings.warn(f"the trace function failed, training goes on: {type(error).__name__}: {error}")
            failed.append(error)

    def to_file(event: str) -> None:
        live = reference()
        if live is None or live.ranks is None or not live.ranks.first:
            return
        if live.trace_file is None:
            live.trace_file = _core.TraceFile(str(trace), live.trace_bytes)
        live.trace_file.write(event)

    told: set[str] = set()

    def tell(event: str) -> None:
        failure = json.loads(event)
        if failure["event"] != "failure" or (failure["reason"] in told and not failure["off"]):
            return
        told.add(failure["reason"])
        rest = "held-out losses are no longer asked for" if failure["off"] else "training goes on without this one"
        warnings.warn(f"LeapVerify at step {failure['step']}: {failure['reason']}; {rest}")

    def tell_of_way_back(look: dict[str, Any]) -> None:
        if look["best_step"] == 0:
            warnings.warn(f"LeapVerify at step {look['step']}: went back to where the run began, for nothing that it made is "
                          "shown to be better on held-out data; raise max_overhead for more and earlier looks, or train fewer "
                          "steps")

    def take(event: str) -> None:
        if trace is not None:
            (to_function if callable(trace) else to_file)(event)
        if '"failure"' in event:
            tell(event)
        elif '"went_back"' in event:
            tell_of_way_back(json.loads(event))

    return take


def carried_over(old: _core.Engine, new: _core.Engine) -> tuple[str, list[tuple[str, Tensor]]]:
    """The state of `old` for `new`, whose parameters may be others: history begins anew where they are."""
    text, named = old.state()
    before, after = old.trained(), new.trained()
    if len(before) == len(after) and all(a is b for a, b in zip(before, after)):
        return text, named
    data = json.loads(text)
    data["snapshot_steps"] = []
    data["activations"] = False
    data["pending"] = []
    data["path_begun"] = data["path_average"] = False
    data["kept_step"] = None
    tensors = dict(named)
    position = {id(parameter): i for i, parameter in enumerate(before)}
    kept = []
    for name in ("average", "iterate", "iterate_average"):
        # Before the first step there is none yet.
        if f"{name}.0" not in tensors:
            continue
        for i, parameter in enumerate(after):
            known = tensors.get(f"{name}.{position.get(id(parameter))}")
            dtype = parameter.dtype if name == "iterate" else _average_dtype(parameter)
            kept.append((f"{name}.{i}", known if known is not None else parameter.detach().to(dtype)))
    return json.dumps(data), kept


def _average_dtype(parameter: Tensor) -> torch.dtype:
    return torch.float64 if parameter.dtype == torch.float64 else torch.float32
