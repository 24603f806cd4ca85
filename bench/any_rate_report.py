"""What the any-rate bench found: where each method ends from which learning rate, held against the tuned optimizer."""

import math
import statistics

from any_rate_runs import arenas_of, is_bracketed
from measured import ended
from pictures import picture, short, style

#: Ranges of starting rates that the summary gives the worst of, as multiples of the best rate.
RANGES = {"1/256 to 1": (2**-8.5, 1.5), "at 1": (0.75, 1.5), "2 to 8": (1.5, 12)}
COLUMNS = 3


def times(multiple):
    """0.125 as 1/8."""
    return f"{multiple:g}" if multiple >= 0.75 else f"1/{round(1 / multiple)}"


def is_plain(multiple):
    """Whether it is one of the rates that all are run at, not one that a method finds itself."""
    return math.isclose(math.log2(multiple), round(math.log2(multiple)), abs_tol=1e-6)


def tuning_table(arenas):
    rows = []
    for arena in arenas:
        finals = arena.confirmed
        found = f"{statistics.median(finals):.4f} ({min(finals):.4f} to {max(finals):.4f}; n = {len(finals)})" if finals else ""
        edges = [f"{warmup:g}" for warmup, grid in arena.tuned.items() if not is_bracketed(grid)]
        rows.append(f"| {arena.name} | {short(arena.best['rate'])} | {arena.best['warmup']:g} | {found} | {arena.tuning_runs} | "
                    f"{'warm-up ' + ', '.join(edges) if edges else 'none'} | {short(arena.own_rate) if arena.own_rate else ''} |")
    return ["The base optimizer alone, tuned: the best rate and warm-up (a share of the steps), its final validation loss over "
            "seeds (where an arena was tuned with other schedules too, all is held against the schedule that is best at the seeds of the "
            "tuning), how many runs the tuning took, which grids end without a worse neighbour on both sides, and the best rate "
            "at the arena's own warm-up, of which all rates below are multiples.", "",
            "| arena | rate | warm-up | final loss | runs | open grids | own rate |", "|---|--:|--:|--:|--:|---|--:|", *rows]


def excess(arena, loss):
    """In % of the tuned optimizer's final loss."""
    return 100 * (loss / statistics.median(arena.baseline) - 1)


def cell(arena, loss, form):
    """What `form` makes of a loss and its excess."""
    return form.format(loss, excess(arena, loss)) if math.isfinite(loss) else "failed"


def losses_table(arena, purpose, title):
    labels = arena.methods(purpose)
    if not labels or not arena.baseline:
        return []
    multiples = sorted({multiple for label in labels for multiple in arena.runs(label, purpose) if is_plain(multiple)})
    rows = []
    for label in labels:
        cells = []
        runs = arena.runs(label, purpose)
        for multiple in multiples:
            found = [own for at, own in runs.items() if math.isclose(at, multiple)]
            cells.append(cell(arena, arena.median(found[0]), "{:.3f}<br>{:+.1f}") if found else "")
        once = [own for at, own in runs.items() if not is_plain(at)]
        name = label
        if once:
            name += " (finds its rate): " + cell(arena, arena.median(once[0]), "{:.3f}, {:+.1f}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return ["", f"### {arena.name}{title}", "",
            "Final loss, median over seeds, from each multiple of the best rate; below it what that is above the tuned "
            "optimizer's, in %.", "", "| method | " + " | ".join(map(times, multiples)) + " |", "|---|" + "--:|" * len(multiples), *rows]


def summary_table(arenas):
    rows = []
    for arena in arenas:
        if not arena.baseline:
            continue
        for label in arena.methods():
            runs = arena.runs(label)
            cells = []
            for low, high in RANGES.values():
                medians = [arena.median(own) for multiple, own in runs.items() if low < multiple < high and is_plain(multiple)]
                # One that is not known makes the worst unknown.
                worst = max(medians, key=lambda loss: (not math.isfinite(loss), loss)) if medians else None
                cells.append("" if worst is None else cell(arena, worst, "{1:+.2f}"))
            if not any(cells):
                cells = [cell(arena, arena.median(next(iter(runs.values()))), "{1:+.2f}")] * len(RANGES)
            good = [line for own in runs.values() for line in own if ended(line)]
            spent = [100 * line["cost_steps"] / line["steps"] for line in good]
            faster = statistics.median(arena.speed_ups(good)) if good else 0
            counts = sorted({len(own) for own in runs.values()})
            each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            looked_at = [line for line in good if line.get("looks", 0) > 0]
            back = f"{sum(line['went_back'] > 0 for line in looked_at)} of {len(looked_at)}" if looked_at else ""
            rows.append(f"| {arena.name} | {label} | {len(runs)} of {each} | " + " | ".join(cells)
                        + f" | {f'{faster:.2f}' if faster else 'not reached'} | {statistics.median(spent) if spent else 0:.1f} | {back} |")
    return ["The worst final loss (medians over seeds) from any rate of a range, above the tuned optimizer's, in %; the "
            "steps of a run over those to the tuned optimizer's loss; what verification took, in % of the training steps "
            "(medians over all runs); and how many of the runs that were looked at went back.", "",
            "| arena | method | rates, of so many runs each | " + " | ".join(RANGES) + " | speed-up | verification | went back |",
            "|---|---|--:|" + "--:|" * len(RANGES) + "--:|--:|--:|", *rows]


def draw(arenas, file):
    rows = math.ceil(len(arenas) / COLUMNS)
    columns = min(COLUMNS, len(arenas))
    labels = list(dict.fromkeys(label for arena in arenas for label in arena.methods()))
    with picture(file, 3.4 * columns + 0.4, 2.7 * rows + 0.5, rows, columns) as (figure, axes):
        for place, axis in enumerate(axes.flat):
            if place >= len(arenas):
                axis.set_visible(False)
                continue
            arena = arenas[place]
            tuned = statistics.median(arena.baseline)
            axis.axhline(tuned, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
            for index, label in enumerate(labels):
                one = style.run_style(index)
                points = [(multiple, arena.median(own)) for multiple, own in arena.runs(label).items()]
                if len(points) == 1 and not is_plain(points[0][0]):
                    axis.axhline(points[0][1], color=one.color, linewidth=1, linestyle=":", label=label)
                    continue
                drawn = [(x, y) for x, y in points if is_plain(x) and math.isfinite(y)]
                if drawn:
                    axis.plot(*zip(*drawn, strict=True), color=one.color, linestyle=one.line, marker=one.marker, markersize=3,
                              linewidth=1.2, label=label)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda value, _: times(value))
            axis.set_title(arena.name)
            own = [arena.median(runs) for label in labels if label.startswith("leapverify")
                   for runs in arena.runs(label).values()]
            shown = [loss for loss in own if math.isfinite(loss)] + [tuned]
            room = max(0.25 * tuned, max(shown) - tuned)
            axis.set_ylim(min(*shown, tuned) - 0.15 * room, tuned + 1.3 * room)
        axes[0, 0].set_ylabel("final loss")
        figure.supxlabel("starting rate ÷ best rate; dashed: the tuned optimizer")
        named = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        shown = [label for label in labels if label in named]
        figure.legend([named[label] for label in shown], shown, loc="outside upper center", ncols=min(4, len(shown)))


def section(folder):
    """Lines of Markdown, and the picture they show written into the folder."""
    arenas = [arena for arena in arenas_of(folder.lines("any_rate")) if arena.baseline]
    if not arenas:
        return ["No tuned optimizer has been confirmed yet."]
    draw([arena for arena in arenas if arena.methods()] or arenas, folder.path / "any_rate.svg")
    lines = ["![Final loss against starting rate](any_rate.svg)", "", *summary_table(arenas), "", *tuning_table(arenas)]
    for arena in arenas:
        lines += losses_table(arena, "range", "")
        lines += losses_table(arena, "ablation", ": other options, one seed")
    return lines
