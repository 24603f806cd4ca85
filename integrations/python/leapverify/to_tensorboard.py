"""Writes a run's scalars as TensorBoard event files: losses, learning rate, overhead, leaps, gains.

Usage: python -m leapverify.to_tensorboard RUN [-o FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from leapverify import command
from leapverify._core import FileError
from leapverify.ledger import Try, tries_of
from leapverify.runs import FILES, PathLike, Run, read_runs
from leapverify.trace_events import REGIMES, Failure, Leap, Look, Observation, RateChange, Settings


class Scalar(NamedTuple):
    tag: str
    step: int
    value: float


def _of_metrics(run: Run) -> Iterator[Scalar]:
    for line in run.training:
        yield Scalar("loss/training", line.step, line.loss)
        yield Scalar("learning_rate/in_force", line.step, line.rate)
        yield Scalar("speed/tokens_per_second", line.step, line.tokens_per_second)
    for scored in run.validation:
        yield Scalar("loss/validation", scored.step, scored.loss)
        if scored.average_loss is not None:
            yield Scalar("loss/validation_at_average", scored.step, scored.average_loss)


def _of_observations(run: Run) -> Iterator[Scalar]:
    for event in run.events:
        if isinstance(event, RateChange):
            yield Scalar("learning_rate/scale", event.step, event.after)
        if not isinstance(event, Observation):
            continue
        yield Scalar("regime/regime", event.step, REGIMES.index(event.regime))
        if event.signal is not None:
            yield Scalar("regime/signal", event.step, event.signal)
        if event.probe_loss is not None:
            yield Scalar("loss/probes", event.step, event.probe_loss)


def _of_tries(tries: Sequence[Try]) -> Iterator[Scalar]:
    accepted, saved = 0, 0.0
    for number, one in enumerate(tries, start=1):
        accepted += one.accepted
        yield Scalar("leaps/tried", one.step, number)
        yield Scalar("leaps/accepted", one.step, accepted)
        compared = [candidate for candidate in one.candidates if candidate.pairs > 0]
        if compared:
            yield Scalar("gain/best_candidate", one.step, max(own.gain for own in compared))
        leap = one.leap
        if leap is None or leap.horizon is None:
            continue
        yield Scalar("leaps/horizon", one.step, leap.horizon)
        if leap.gain is not None and leap.gain_lower_bound is not None:
            yield Scalar("gain/of_leap", one.step, leap.gain)
            yield Scalar("gain/lower_bound", one.step, leap.gain_lower_bound)
        if leap.outcome == "committed":
            saved += leap.steps_saved or 0.0
            yield Scalar("leaps/steps_saved", one.step, saved)


def _of_looks(run: Run) -> Iterator[Scalar]:
    for event in run.events:
        if isinstance(event, Look) and event.pairs > 0:
            yield Scalar("looks/loss", event.step, event.loss)
            yield Scalar("looks/best_loss", event.step, event.best_loss)


def _of_costs(run: Run) -> Iterator[Scalar]:
    """The share of probes, tries and looks in all cost so far."""
    forwards = probes = 0
    step_cost = 0.0
    for event in run.events:
        if isinstance(event, Settings):
            probes, step_cost = event.options.count("probes"), event.step_cost
        spent = 0
        if isinstance(event, Observation) and event.probe_loss is not None:
            spent = probes
        elif isinstance(event, (Leap, Look, Failure)):
            spent = event.forwards
        if spent > 0:
            forwards += spent
            total = forwards + event.step * step_cost
            yield Scalar("cost/overhead", event.step, forwards / total)


def scalars_of(run: Run) -> list[Scalar]:
    """Every scalar, those of one tag by step."""
    return [*_of_metrics(run), *_of_observations(run), *_of_tries(tries_of(run.events)), *_of_looks(run),
            *_of_costs(run)]


def _written(run: Run) -> float:
    """When the run's files were last written."""
    files = [run.path / name for name in FILES] if run.path.is_dir() else [run.path]
    return max(file.stat().st_mtime for file in files if file.exists())


def write(run: PathLike, folder: PathLike | None = None) -> Path:
    """Writes the scalars of a run into a new folder, `tensorboard` beside its trace if none is
    given, and returns it. Raises FileError, and ImportError without tensorboard."""
    from torch.utils.tensorboard.writer import SummaryWriter

    read = read_runs([run])[0]
    parent = read.path if read.path.is_dir() else read.path.parent
    path = parent / "tensorboard" if folder is None else Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileError(f"{path}: exists already; -o names another folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        writer = SummaryWriter(str(path))
    except OSError as error:
        raise FileError(f"{path}: cannot write: {error.strerror}") from None
    # As the files were written when the run ended, so that times of the day come out right.
    began = _written(read) - (read.seconds or 0.0)
    for scalar in scalars_of(read):
        seconds = read.seconds_at(scalar.step) or 0.0
        writer.add_scalar(scalar.tag, scalar.value, scalar.step,
                          walltime=began + seconds)
    writer.close()
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m leapverify.to_tensorboard",
        description="Writes a run's scalars as TensorBoard event files.")
    parser.add_argument("run", metavar="RUN", help="run folder of the trainer, or a trace.jsonl")
    parser.add_argument("-o", "--output", metavar="FOLDER",
                        help="default: tensorboard in the run folder")
    options = parser.parse_args(arguments)
    return command.run("to_tensorboard", "tensorboard", lambda: write(options.run, options.output))


if __name__ == "__main__":
    sys.exit(main())
