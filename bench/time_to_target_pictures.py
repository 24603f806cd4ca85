"""The pictures of the time-to-target bench: speed-ups as dots with their intervals, losses against learning rates."""

import math
import statistics

import numpy
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
import inference
from pictures import learning_rates, picture, style
from time_to_target_runs import BASELINE, OURS

#: The clocks that are drawn, with how.
DOTS = {"steps": dict(offset=-0.14, marker="o", filled=True), "time": dict(offset=0.14, marker="D", filled=False)}


def order_of(arenas):
    """All methods, the fastest in steps first, by the mean over the arenas of the median's logarithm."""
    def speed(name):
        found = [statistics.median(arena.speed_ups(arena.methods[name].confirmed, "steps").values() or [0])
                 for arena in arenas if name in arena.methods and arena.methods[name].confirmed]
        return statistics.fmean(math.log(max(one, 0.1)) for one in found)

    names = dict.fromkeys(name for arena in arenas for name, method in arena.methods.items()
                          if method.confirmed and name != BASELINE)
    return sorted(names, key=speed, reverse=True)


def color_of(name):
    return style.run_style(1).color if name == OURS else style.MUTED


def draw_dot(axes, row, name, speed_ups, least, offset, marker, filled):
    """A median with its interval; at the left edge where the target is not reached. Gives what the key must explain."""
    found = inference.bootstrap(list(speed_ups.values()))
    place, color = row + offset, color_of(name)
    if found.value == 0:
        axes.plot(least, place, marker="x", color=color, markersize=5.5, clip_on=False)
        return "not reached"
    if found.has_interval:
        axes.plot([max(found.low, least), found.high], [place, place], color=color, linewidth=1.4)
    axes.plot(found.value, place, marker=marker, markersize=5.5, color=color,
              markerfacecolor=color if filled else "white")
    return "95 % interval" if found.has_interval else ""


def ticks_between(least, most):
    return [tick for tick in (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50) if least <= tick <= most]


def range_of(arenas, names):
    ends = [1.0]
    for arena in arenas:
        for name in names:
            runs = arena.methods[name].confirmed if name in arena.methods else {}
            for clock in DOTS:
                values = list(arena.speed_ups(runs, clock).values())
                if values:
                    found = inference.bootstrap(values)
                    ends += [one for one in (found.value, found.low, found.high) if one]
    return max(min(0.65, min(ends) / 1.15), 0.1), max(1.6, max(ends) * 1.15)


def draw_speed_ups(arenas, file):
    """Whether there was anything to draw."""
    names = order_of(arenas)
    if not names:
        return False
    least, most = range_of(arenas, names)
    width, height = max(6.2, 2.0 + 2.6 * len(arenas)), 1.15 + 0.34 * len(names)
    drawn = set()
    with picture(file, width, height, 1, len(arenas), sharey=True) as (figure, axes):
        for axis, arena in zip(axes[0], arenas):
            axis.set_xscale("log")
            axis.set_xlim(least, most)
            axis.axvspan(least, 1, color=style.GRID, alpha=0.6, linewidth=0)
            axis.axvline(1, color=style.INK, linewidth=1)
            axis.grid(False)
            for row, name in enumerate(names):
                runs = arena.methods[name].confirmed if name in arena.methods else {}
                for clock, dot in DOTS.items():
                    speed_ups = arena.speed_ups(runs, clock)
                    if speed_ups:
                        drawn.add(draw_dot(axis, row, name, speed_ups, least, **dot))
            axis.set_xticks(ticks_between(least, most))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}×"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.minorticks_off()
            seeds = {len(method.confirmed) for method in arena.methods.values() if method.confirmed}
            axis.set_title(f"{arena.name}, n = {' to '.join(map(str, sorted({min(seeds), max(seeds)})))}")
        axes[0, 0].set_yticks(range(len(names)), names)
        for label in axes[0, 0].get_yticklabels():
            if label.get_text() == OURS:
                label.set(color=style.INK, fontweight="bold")
        for axis in axes[0]:
            axis.tick_params(axis="y", length=0)
        axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
        figure.supxlabel("speed-up to the final loss of tuned AdamW; left of 1: slower", color=style.MUTED,
                         fontsize=9.5)
        keys = [Line2D([], [], linestyle="", marker=dot["marker"], color=style.MUTED, markersize=5.5,
                       markerfacecolor=style.MUTED if dot["filled"] else "white", label=f"in {clock}")
                for clock, dot in DOTS.items()]
        keys += [Line2D([], [], color=style.MUTED, label=label, **look) for label, look in {
            "95 % interval": dict(linewidth=1.4), "not reached": dict(linestyle="", marker="x", markersize=5.5)}.items()
                 if label in drawn]
        figure.legend(handles=keys, loc="outside upper center", ncols=len(keys))
    return True


def finals_by_rate(method):
    """[(rate, median final loss of all its runs there)]"""
    found = []
    for rate in sorted({line["rate"] for line in method.lines}):
        finals = [line["final"] for line in method.at(rate).values()]
        if finals:
            found.append((rate, statistics.median(finals)))
    return found


def looks(names):
    """{name: how its line is drawn}: AdamW and LeapVerify first and thick, no two of the others alike."""
    first = [name for name in (BASELINE, OURS) if name in names]
    found = {name: dict(color=style.run_style(index).color, linestyle="solid", linewidth=3.2 - 1.4 * index,
                        marker=style.run_style(index).marker, markersize=5.5 - index, zorder=3)
             for index, name in enumerate(first)}
    kinds = len(style.RUN_STYLES) - 2
    for index, name in enumerate(name for name in names if name not in first):
        one = style.run_style(2 + index % kinds)
        found[name] = dict(color=one.color, linewidth=1.1, marker=one.marker, markersize=3.5,
                           linestyle=("solid", (0, (5, 2)), (0, (1, 1.5)))[index // kinds % 3])
    return found


def cut_top(axis, losses):
    """Leaves the few losses out that would press all others together, and says how many they are."""
    above = numpy.array(losses) - min(losses)
    top = 1.5 * float(numpy.quantile(above, 0.8))
    beyond = int((above > top).sum())
    if beyond and above.max() > 2 * top:
        axis.set_ylim(min(losses) - 0.05 * top, min(losses) + top)
        axis.text(0.98, 0.98, f"{beyond} above", transform=axis.transAxes, ha="right", va="top", color=style.MUTED)


def draw_rates(arenas, file):
    names = list(dict.fromkeys(name for arena in arenas for name in arena.methods))
    drawn = looks(names)
    with picture(file, max(5.8, 0.8 + 3.0 * len(arenas)), 4.4, 1, len(arenas)) as (figure, axes):
        for axis, arena in zip(axes[0], arenas):
            rates, losses = set(), []
            for name, method in arena.methods.items():
                points = finals_by_rate(method)
                if points:
                    axis.plot(*zip(*points), **drawn[name])
                    rates |= {rate for rate, _ in points}
                    losses += [loss for _, loss in points]
            if losses:
                learning_rates(axis, rates)
                cut_top(axis, losses)
            if arena.target is not None:
                axis.axhline(arena.target, color=style.QUIET_LINE, linewidth=0.8, linestyle=(0, (4, 3)))
            axis.set_title(arena.name)
        axes[0, 0].set_ylabel("final validation loss, nats")
        keys = [Line2D([], [], label=name, **look) for name, look in drawn.items()]
        keys.append(Line2D([], [], color=style.QUIET_LINE, linewidth=0.8, linestyle=(0, (4, 3)), label="target"))
        figure.legend(handles=keys, loc="outside lower center", ncols=min(1 + len(arenas), 4))
