"""Reads runs: a run folder of the trainer (config.yaml, metrics.jsonl, trace.jsonl), or a trace
alone. A run may be under way or killed, so any of its files may be missing or end in a cut line."""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Union

from leapverify._core import FileError
from leapverify.json_lines import read_lines
from leapverify.trace_events import Event, Settings, read_trace

PathLike = Union[str, "os.PathLike[str]"]

FILES = ("config.yaml", "metrics.jsonl", "trace.jsonl")


@dataclass(frozen=True)
class Training:
    """A line of metrics about training."""

    step: int
    loss: float
    rate: float
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class Validation:
    """A line of metrics about validation."""

    step: int
    loss: float
    average_loss: float | None
    reached_target: bool


@dataclass(frozen=True)
class Run:
    """What the files of a run tell."""

    path: Path
    #: As it is shown.
    name: str
    #: Every key of config.yaml by its full name, values as YAML; empty without one.
    config: Mapping[str, str]
    training: Sequence[Training]
    validation: Sequence[Validation]
    events: Sequence[Event]

    @cached_property
    def settings(self) -> Settings | None:
        """Those in force at the end."""
        found = [event for event in self.events if isinstance(event, Settings)]
        return found[-1] if found else None

    @property
    def leaps_on(self) -> bool:
        return self.settings is not None and self.settings.enabled

    @property
    def is_free(self) -> bool:
        return self.settings is not None and self.settings.is_free

    @cached_property
    def steps(self) -> int:
        """Steps done, as far as the files tell."""
        lines = [*self.training, *self.validation, *self.events]
        return max((line.step for line in lines), default=0)

    @property
    def planned_steps(self) -> int:
        """0: not known."""
        configured = self.config.get("run.steps", "")
        if configured.isdigit():
            return int(configured)
        return self.settings.planned_steps if self.settings else 0

    @property
    def finished(self) -> bool:
        reached = any(line.reached_target for line in self.validation)
        return reached or 0 < self.planned_steps <= self.steps

    def unit_after(self, separator: str) -> str:
        """What losses are counted in: a trainer's own model of 256 tokens reads bytes. Nothing for a trace alone, whose
        losses may be of any kind."""
        if not self.config:
            return ""
        bytes_read = (self.config.get("model.name"), self.config.get("model.vocabulary"))
        return separator + ("nats per byte" if bytes_read == ("gpt", "256") else "nats per token")

    @property
    def seconds(self) -> float | None:
        """Time that the run took so far."""
        return self.training[-1].seconds if self.training else None

    def seconds_at(self, step: int) -> float | None:
        """When a step was done; between two lines of metrics by interpolation."""
        if not self.training:
            return None
        index = bisect.bisect_left(self.training, step, key=lambda line: line.step)
        if index == len(self.training):
            return self.seconds
        after = self.training[index]
        first = (0, 0.0)
        if index > 0:
            first = (self.training[index - 1].step, self.training[index - 1].seconds)
        share = (step - first[0]) / max(after.step - first[0], 1)
        return first[1] + share * (after.seconds - first[1])


def _read_metrics(path: Path) -> tuple[list[Training], list[Validation]]:
    training: list[Training] = []
    validation: list[Validation] = []
    for line in read_lines(path):
        step = line.count("step")
        if line.has("train_loss"):
            training.append(Training(step, line.number("train_loss"), line.number("lr"),
                                     line.number("seconds"), line.number("tokens_per_second")))
        elif line.has("validation_loss"):
            validation.append(Validation(step, line.number("validation_loss"),
                                         line.optional_number("average_validation_loss"),
                                         line.has("reached_target")))
        else:
            raise line.error("neither train_loss nor validation_loss")
    return training, validation


def _read_config(path: Path) -> dict[str, str]:
    """The keys of a config as the trainer writes it: one a line, groups by indentation."""
    values: dict[str, str] = {}
    groups: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, colon, value = line.strip().partition(":")
        if not colon or key.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        while groups and groups[-1][0] >= indent:
            groups.pop()
        if value.strip():
            values[".".join([name for _, name in groups] + [key])] = value.strip()
        else:
            groups.append((indent, key))
    return values


def _name_of(path: Path) -> str:
    whole = path.resolve()
    return whole.parent.name if whole.name == "trace.jsonl" else whole.name.removesuffix(".jsonl")


def _distinct(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Names that several runs share give way to paths, and the same path is numbered."""
    shown = [str(path) if names.count(name) > 1 else name for name, path in zip(names, paths)]
    return [name if shown.count(name) == 1 else f"{name} ({shown[:index].count(name) + 1})"
            for index, name in enumerate(shown)]


def _read_run(path: Path, name: str) -> Run:
    if not path.exists():
        raise FileError(f"{path}: no such run folder or trace")
    if not path.is_dir():
        return Run(path, name, {}, [], [], read_trace(path))
    config, metrics, trace = (path / file for file in FILES)
    if not any(file.is_file() for file in (config, metrics, trace)):
        raise FileError(f"{path}: no run folder, it has none of {', '.join(FILES)}")
    training, validation = _read_metrics(metrics) if metrics.is_file() else ([], [])
    return Run(path, name, _read_config(config) if config.is_file() else {}, training, validation,
               read_trace(trace) if trace.is_file() else [])


def read_runs(paths: Sequence[PathLike]) -> list[Run]:
    """Reads run folders and traces, each with a name of its own. Raises FileError."""
    found = [Path(path) for path in paths]
    names = _distinct([_name_of(path) for path in found], found)
    return [_read_run(path, name) for path, name in zip(found, names)]
