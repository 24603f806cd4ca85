"""The pictures of a report, as SVG that stands inside a page: no scripts, no files beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from leapverify.comparison import (
    Curve,
    average_curve,
    comparable_to,
    held_out_curve,
    reached,
    reference_of,
    smoothed,
    training_curve,
)
from leapverify.figure_style import (
    FAINT_LINE,
    INK,
    MARKS,
    MUTED,
    QUIET_LINE,
    REGIME_COLORS,
    STYLE,
    RunStyle,
    inline_svg,
    run_style,
)
from leapverify.ledger import LOOK_VERDICTS, looks_of, tries_of
from leapverify.runs import Run
from leapverify.trace_events import REGIMES, Look, Observation, RateChange

_MOST_POINTS = 1500
#: Of a picture, in inches.
_WIDTH = 9.6


def _thinned(values: Sequence[float]) -> Sequence[float]:
    every = math.ceil(len(values) / _MOST_POINTS) or 1
    return values if every == 1 else [*values[:-1:every], values[-1]]


@dataclass(frozen=True)
class _Time:
    """A unit that a run's time reads well in."""

    name: str
    seconds: float


def _time_unit(seconds: float) -> _Time:
    if seconds < 300:
        return _Time("seconds", 1)
    return _Time("minutes", 60) if seconds < 3 * 3600 else _Time("hours", 3600)


def _times(run: Run, curve: Curve, unit: _Time) -> list[float]:
    return [(run.seconds_at(step) or 0.0) / unit.seconds for step in curve.steps]


def _count_label(value: float, _: int) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


def _rate_label(value: float, _: int) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"


def _step_axis(axes: Axes, last: int) -> None:
    axes.set_xlim(0, max(last, 1) * 1.015)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_count_label))
    axes.set_xlabel("training steps", loc="right")


def _time_axis(axes: Axes, seconds: float, unit: _Time) -> None:
    axes.set_xlim(0, seconds / unit.seconds * 1.015)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_xlabel(f"time in {unit.name}", loc="right")


def _stacked(width: float, panels: Sequence[tuple[float, float]]) -> tuple[Figure, list[Axes]]:
    """Panels one below the other on one step axis: (height, room below), in inches."""
    top = 0.3
    total = top + sum(height + below for height, below in panels)
    figure = Figure(figsize=(width, total))
    axes: list[Axes] = []
    y = total - top
    for height, below in panels:
        y -= height
        box = (0.45 / width, y / total, (width - 1.05) / width, height / total)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        axes[-1].tick_params(labelbottom=False)
        y -= below
    axes[-1].tick_params(labelbottom=True)
    return figure, axes


def _frame_losses(axes: Axes, curves: Sequence[Curve]) -> None:
    """The first twentieth of a run, where losses fall from those of chance, may leave the frame."""
    shown = [loss for curve in curves for step, loss in zip(curve.steps, curve.losses)
             if step >= curve.steps[-1] / 20]
    if shown:
        margin = 0.05 * (max(shown) - min(shown)) or 0.1
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))


def _plot_training(axes: Axes, x: Callable[[Curve], Sequence[float]], run: Run) -> None:
    raw = training_curve(run)
    if not raw.steps:
        return
    axes.plot(_thinned(x(raw)), _thinned(raw.losses), color=FAINT_LINE, linewidth=0.9)
    mean = smoothed(raw)
    axes.plot(_thinned(x(mean)), _thinned(mean.losses), color=QUIET_LINE, linewidth=1.4,
              label="training, smoothed")


def _plot_held_out(axes: Axes, x: Callable[[Curve], Sequence[float]], run: Run) -> None:
    for curve, color, dashes in ((held_out_curve(run), INK, "solid"),
                                 (average_curve(run), "#0072b2", (0, (5, 2)))):
        if curve.steps:
            marker = "o" if len(curve.steps) <= 60 else ""
            axes.plot(x(curve), curve.losses, color=color, linestyle=dashes, linewidth=2,
                      marker=marker, markersize=3.5, label=curve.kind)


def _plot_losses(axes: Axes, x: Callable[[Curve], Sequence[float]], run: Run) -> None:
    _plot_training(axes, x, run)
    _plot_held_out(axes, x, run)
    _frame_losses(axes, [smoothed(training_curve(run)), held_out_curve(run), average_curve(run)])
    axes.set_title(f"loss{run.unit_after(', ')}")


def _height_of_marks(run: Run) -> Callable[[int], float]:
    """On the held-out curve, before its first point on that of training."""
    held_out, training = held_out_curve(run), smoothed(training_curve(run))
    begin = held_out.steps[0] if held_out.steps else run.steps + 1
    return lambda step: (training if training.steps and step < begin else held_out).at(step)


def _verdicts(run: Run) -> list[tuple[int, str]]:
    """(step, verdict) of tries and looks."""
    looks = [(event.step, LOOK_VERDICTS[event.outcome] if isinstance(event, Look) else "failure")
             for event in looks_of(run.events)]
    return [(one.step, one.verdict) for one in tries_of(run.events)] + looks


def _plot_marks(axes: Axes, run: Run) -> None:
    height = _height_of_marks(run)
    verdicts = _verdicts(run)
    # Those that changed nothing lie below.
    for order, (verdict, mark) in enumerate(reversed(list(MARKS.items()))):
        steps = [step for step, own in verdicts if own == verdict]
        if steps:
            axes.plot(steps, [height(step) for step in steps], linestyle="none",
                      marker=mark.marker, markersize=mark.size, markeredgecolor=mark.color,
                      markerfacecolor=mark.color if mark.filled else "white",
                      markeredgewidth=1.3, zorder=4 + order, label=f"{verdict} ({len(steps)})")


def _bands(run: Run) -> list[tuple[int, int, str]]:
    """(from, to, regime), each until an observation of another."""
    bands: list[tuple[int, int, str]] = []
    for event in run.events:
        if not isinstance(event, Observation):
            continue
        if bands and bands[-1][2] == event.regime:
            continue
        if bands:
            bands[-1] = (bands[-1][0], event.step, bands[-1][2])
        bands.append((event.step, run.steps, event.regime))
    return bands


def _plot_regimes(axes: Axes, run: Run) -> None:
    for begin, end, regime in _bands(run):
        axes.axvspan(begin, end, color=REGIME_COLORS[regime], linewidth=0)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelbottom=False, length=0)
    axes.set_title("regime")
    handles = [Patch(color=REGIME_COLORS[name], label=name) for name in REGIMES]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 0.9), ncols=3,
                handlelength=1, handleheight=1, borderaxespad=0.2)


def _plot_rates(axes: Axes, runs: Sequence[tuple[Run, RunStyle]]) -> None:
    rates = [line.rate for run, _ in runs for line in run.training if line.rate > 0]
    for run, style in runs:
        axes.plot(_thinned([line.step for line in run.training]),
                  _thinned([line.rate for line in run.training]), color=style.color,
                  linestyle=style.line, linewidth=1.6)
    if rates and max(rates) > 20 * min(rates):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(_rate_label))
    axes.set_title("learning rate in force")


def _plot_factors(axes: Axes, run: Run) -> None:
    """What a trace alone knows of the learning rate."""
    free = [(event.step, event.rate) for event in run.events if isinstance(event, RateChange) and event.rate is not None]
    if run.is_free and free:
        axes.step([*(step for step, _ in free), run.steps], [*(rate for _, rate in free), free[-1][1]], where="post", color=INK,
                  linewidth=1.6)
        axes.set_yscale("log")
        axes.set_title("learning rate in force")
        return
    changes = [event for event in run.events if isinstance(event, RateChange)]
    steps = [0, *(event.step for event in changes), run.steps]
    factors = [1.0, *(event.after for event in changes)]
    axes.step(steps, [*factors, factors[-1]], where="post", color=INK, linewidth=1.6)
    axes.set_title("factor on the scheduled learning rate")


def _end_label(axes: Axes, curve: Curve) -> None:
    if curve.steps:
        axes.annotate(f"{curve.losses[-1]:.3f}", (curve.steps[-1], curve.losses[-1]),
                      xytext=(7, 0), textcoords="offset points", va="center", fontsize=10,
                      fontweight="bold", annotation_clip=False)


def steps_figure(run: Run, prefix: str) -> str:
    """Losses with every try or look, regimes where they matter and learning rate, all against steps."""
    has_regimes = run.leaps_on and not run.is_free
    with matplotlib.rc_context(STYLE):
        regimes = [(0.16, 0.5)] if has_regimes else []
        figure, panels = _stacked(_WIDTH, [(3.7, 0.5), *regimes, (1.15, 0.5)])
        losses, rates = panels[0], panels[-1]
        _plot_losses(losses, lambda curve: curve.steps, run)
        _plot_marks(losses, run)
        _end_label(losses, held_out_curve(run))
        if losses.get_legend_handles_labels()[0]:
            losses.legend(loc="upper right")
        if has_regimes:
            _plot_regimes(panels[1], run)
        if run.training or not run.leaps_on:
            _plot_rates(rates, [(run, RunStyle(INK, None, ""))])
        else:
            _plot_factors(rates, run)
        _step_axis(rates, run.steps)
        what = "Losses, tries, regimes" if has_regimes else "Losses, looks" if run.leaps_on else "Losses"
        return inline_svg(figure, prefix, f"{what} and learning rate against steps")


def time_figure(run: Run, prefix: str) -> str:
    """Losses against time; empty where the run has no times."""
    seconds = run.seconds
    if not seconds:
        return ""
    with matplotlib.rc_context(STYLE):
        unit = _time_unit(seconds)
        figure, (axes,) = _stacked(_WIDTH, [(2.3, 0.5)])
        _plot_losses(axes, lambda curve: _times(run, curve, unit), run)
        axes.legend(loc="upper right")
        _time_axis(axes, seconds, unit)
        return inline_svg(figure, prefix, "Losses against time")


def _plot_run(axes: Axes, x: Callable[[Curve], Sequence[float]], run: Run,
              style: RunStyle) -> None:
    training = smoothed(training_curve(run))
    axes.plot(_thinned(x(training)), _thinned(training.losses), color=style.color, linewidth=0.8,
              alpha=0.3)
    curve = held_out_curve(run)
    marker = style.marker if len(curve.steps) <= 60 else ""
    axes.plot(x(curve), curve.losses, color=style.color, linestyle=style.line, linewidth=2,
              marker=marker, markersize=4)


def _ring(axes: Axes, x: float, y: float, color: str) -> None:
    axes.plot(x, y, marker="o", markersize=12, markerfacecolor="none", markeredgecolor=color,
              markeredgewidth=1.4, clip_on=False)


def _plot_target(by_steps: Axes, by_time: Axes, runs: Sequence[Run], unit: _Time) -> None:
    """The reference's last loss as a line, and a ring where each run got there."""
    reference = runs[reference_of(runs)]
    own = held_out_curve(reference)
    if not own.steps:
        return
    target = own.losses[-1]
    for axes in (by_steps, by_time):
        axes.axhline(target, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
    for index, run in enumerate(runs):
        there = reached(run, target) if comparable_to(run, reference) else None
        if there is None:
            continue
        loss = held_out_curve(run).at(there.step)
        color = run_style(index).color
        _ring(by_steps, there.step, loss, color)
        if there.seconds is not None:
            _ring(by_time, there.seconds / unit.seconds, loss, color)


def _plot_legend(axes: Axes, runs: Sequence[Run]) -> None:
    axes.axis("off")
    handles = []
    for index, run in enumerate(runs):
        style, curve = run_style(index), held_out_curve(run)
        last = f", {curve.losses[-1]:.3f} at its end" if curve.steps else ""
        handles.append(Line2D([], [], color=style.color, linestyle=style.line, linewidth=2,
                              marker=style.marker, markersize=5, label=run.name + last))
    axes.legend(handles=handles, loc="upper left", fontsize=10, handlelength=3.2,
                labelspacing=0.7, borderaxespad=0)


def comparison_figure(runs: Sequence[Run], prefix: str) -> str:
    """All runs in one picture: losses against steps and against time, learning rates."""
    seconds = max(run.seconds or 0.0 for run in runs)
    unit, last = _time_unit(seconds), max(run.steps for run in runs)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.9))
        panels = figure.subplots(2, 2, sharey="row", squeeze=False, gridspec_kw={
            "height_ratios": [3.6, 1.3], "hspace": 0.4, "wspace": 0.07})
        figure.subplots_adjust(left=0.06, right=0.985, top=0.94, bottom=0.08)
        by_steps, by_time, rates = panels[0, 0], panels[0, 1], panels[1, 0]
        for index, run in enumerate(runs):
            _plot_run(by_steps, lambda curve: curve.steps, run, run_style(index))
            if run.seconds:
                _plot_run(by_time, lambda curve: _times(run, curve, unit), run, run_style(index))
        _plot_target(by_steps, by_time, runs, unit)
        _frame_losses(by_steps, [held_out_curve(run) for run in runs])
        by_steps.set_title(f"held-out loss{runs[0].unit_after(', ')}")
        _step_axis(by_steps, last)
        if seconds:
            _time_axis(by_time, seconds, unit)
        else:
            by_time.axis("off")
        _plot_rates(rates, [(run, run_style(index)) for index, run in enumerate(runs)])
        _step_axis(rates, last)
        _plot_legend(panels[1, 1], runs)
        return inline_svg(figure, prefix, "All runs against steps and time")
