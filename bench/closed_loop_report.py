"""What the closed-loop bench found: final losses by learning rate and variant, as tables and as pictures."""

import math
import statistics

import inference
from closed_loop import VERIFIED, first_below
from measured import ended
from pictures import learning_rates, picture, short, style

#: Beside the bare optimizer and the preset verified, that many of the variants that ran at every rate are drawn.
OTHERS_DRAWN = 3
NAMES = {"bare": "bare optimizer", VERIFIED: f"preset verified ({VERIFIED})"}


class Losses:
    """Final losses by variant, rate and seed."""

    def __init__(self, lines):
        self.lines = lines
        self.rates = sorted({line["lr"] for line in lines})
        names = {line["variant"] for line in lines}
        self.variants = [name for name in NAMES if name in names] + sorted(names.difference(NAMES))
        self.steps = next(line["curve"][-1][0] for line in lines if ended(line))
        self.unit = "nats per " + ("byte" if lines[0].get("model", "demo") == "demo" else "token")

    def runs(self, variant, rate):
        return [line for line in self.lines if (line["variant"], line["lr"]) == (variant, rate)]

    def finals(self, variant, rate):
        """{seed: loss} of the runs that have one."""
        return {line["seed"]: line["final"] for line in self.runs(variant, rate) if ended(line)}

    def median(self, variant, rate):
        """nan where no run has a loss."""
        finals = self.finals(variant, rate)
        return statistics.median(finals.values()) if finals else math.nan

    def pairs(self, variant, rates):
        """(bare, variant) losses of the same rate and seed."""
        found = []
        for rate in rates:
            bare, own = self.finals("bare", rate), self.finals(variant, rate)
            found += [(bare[seed], own[seed]) for seed in bare if seed in own]
        return found

    def change(self, variant, rate):
        """The median of the variant's losses less the bare optimizer's, seed by seed; nan where there is none."""
        found = [own - bare for bare, own in self.pairs(variant, [rate])]
        return statistics.median(found) if found else math.nan

    def seeds(self, variant):
        return sorted({line["seed"] for line in self.lines if line["variant"] == variant})

    def best_others(self):
        """Variants with a loss at every rate, by the mean of their medians: what they do to a rate that was guessed."""
        mean = {name: statistics.fmean(self.median(name, rate) for rate in self.rates)
                for name in self.variants if name not in NAMES}
        return sorted((name for name in mean if math.isfinite(mean[name])), key=mean.get)[:OTHERS_DRAWN]


def loss_cell(losses, variant, rate):
    """Median, its spread and number of runs where there are several; below it cost and end of the rate."""
    runs = losses.runs(variant, rate)
    good = [line for line in runs if ended(line)]
    if not good:
        return "failed" if runs else ""
    finals = [line["final"] for line in good]
    cell = f"{statistics.median(finals):.3f}"
    if len(runs) > 1:
        cell += f" ({min(finals):.3f} to {max(finals):.3f}; {len(good)} of {len(runs)})"
    if variant != "bare":
        ends = [line["rates"][-1][1] if line["rates"] else 1 for line in good]
        cell += f"<br>{statistics.median(line['cost_steps'] for line in good):.0f}, ×{statistics.median(ends):.3g}"
    return cell


def variants_table(losses):
    return [f"Final validation loss in {losses.unit} after {losses.steps} steps. Where there are several seeds: the "
            "median (smallest to largest; runs with a loss of all). Below it the verification's cost in training "
            "steps, and what the learning rate ended at, as a multiple of its schedule; medians.", "",
            "| predictor / reference / on_accept | " + " | ".join(map(short, losses.rates)) + " |",
            "|---|" + "--:|" * len(losses.rates),
            *(f"| {name} | " + " | ".join(loss_cell(losses, name, rate) for rate in losses.rates) + " |"
              for name in losses.variants)]


def difference_row(name, pairs):
    before, after = zip(*pairs)
    change = inference.paired_bootstrap(before, after, "difference")
    signs = inference.sign_test([b - a for a, b in pairs])
    chance = "" if signs.p is None else f"{signs.p:.2g}"
    return (f"| {name} | {change.n} | {change.value:+.4f} | {change.show('+.4f')} | "
            f"{signs.negative}, {signs.positive}, {signs.ties} | {chance} |")


def difference_table(losses):
    """The preset verified against the bare optimizer of the same rate and seed."""
    rows = []
    for rate in losses.rates:
        pairs = losses.pairs(VERIFIED, [rate])
        if pairs:
            rows.append(difference_row(short(rate), pairs))
    pairs = losses.pairs(VERIFIED, losses.rates)
    if len(rows) > 1:
        rows.append(difference_row("all", pairs))
    if not rows:
        return []
    return ["Final loss of the preset verified less that of the bare run of the same rate and seed: the median, its 95 % "
            "interval (paired BCa bootstrap), the seeds that were better, worse and equal, and the chance of so uneven "
            "a split (two-sided sign test).", "",
            "| learning rate | n | verified − bare | interval | better, worse, equal | p |", "|--:|--:|--:|---|---|--:|",
            *rows, ""]


def headway_table(losses):
    """When the preset verified has passed the final loss of the bare run at the same rate, by seed. What verification costs up
    to there is at most the whole run's in the table."""
    def cell(curve, loss):
        step = first_below(curve or [], loss)
        return step if step is not None else "not reached" if curve else ""

    rows = []
    for line in sorted(losses.lines, key=lambda line: (line["lr"], line["seed"])):
        bare = losses.finals("bare", line["lr"])
        if line["variant"] == VERIFIED and ended(line) and line["seed"] in bare:
            steps = [cell(line.get(curve), bare[line["seed"]]) for curve in ("curve", "average_curve")]
            rows.append(f"| {short(line['lr'])} | {line['seed']} | {steps[0]} | {steps[1]} |")
    return [f"Steps of {losses.steps} until {VERIFIED} has reached the final loss of the bare run at the same rate, "
            "verification not included, with its weights and with their running average; n = 1 each, so no interval.",
            "",
            "| learning rate | seed | steps | with the average |", "|--:|--:|--:|--:|", *rows]


def ranking(losses):
    """Which variant the preset would be: at seed 0, which all have, over the rates that a variant was run at."""
    def mean(name):
        finals = [losses.finals(name, rate).get(0, math.nan) for rate in losses.rates]
        return statistics.fmean(finals)

    means = {name: mean(name) for name in losses.variants}
    ranked = sorted((name for name in means if math.isfinite(means[name])), key=means.get)
    if VERIFIED not in ranked or len(ranked) < 2:
        return []
    shown = ranked[:5] + [name for name in NAMES if name in ranked[5:]]
    return ["Of the variants with a loss at every rate, by its mean over the rates at seed 0: "
            + "; ".join(f"{ranked.index(name) + 1}. {name} {means[name]:.3f}" for name in shown)
            + f" (of {len(ranked)}). The preset verified, {VERIFIED}, is to be among the first and bitwise the bare run where nothing "
            "verifies; differences of a single run's scatter decide nothing.", ""]


def draw_losses(losses, file):
    with picture(file, 7.2, 4.0) as (_, axes):
        axes = axes[0, 0]
        for index, name in enumerate(losses.best_others(), 2):
            one = style.run_style(index)
            seeds = losses.seeds(name)
            fewer = "" if seeds == losses.seeds(VERIFIED) else f", seed {', '.join(map(str, seeds))} only"
            axes.plot(losses.rates, [losses.median(name, rate) for rate in losses.rates], color=one.color,
                      linestyle=one.line, linewidth=1, label=name + fewer)
        # The bare optimizer's line is wide enough to be seen where the other lies on it.
        for index, name in enumerate(NAMES):
            rates = [rate for rate in losses.rates if losses.finals(name, rate)]
            if not rates:
                continue
            one = style.run_style(index)
            finals = [losses.finals(name, rate).values() for rate in rates]
            axes.fill_between(rates, list(map(min, finals)), list(map(max, finals)), color=one.color, alpha=0.15,
                              linewidth=0)
            axes.plot(rates, list(map(statistics.median, finals)), color=one.color, linewidth=3.4 - 1.6 * index,
                      marker=one.marker, markersize=6.5 - 2 * index, label=NAMES[name], zorder=3)
        learning_rates(axes, losses.rates)
        axes.set_ylabel(f"validation loss, {losses.unit}")
        seeds = len(losses.seeds(VERIFIED))
        axes.set_title(f"Final loss after {losses.steps} steps: median and range of {seeds} seeds" if seeds > 1 else
                       f"Final loss after {losses.steps} steps, one seed")
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda index: labels[index] not in NAMES.values())
        axes.legend([handles[index] for index in order], [labels[index] for index in order], loc="upper center")


def draw_variants(losses, file):
    """Each cell coloured by what it is better or worse than the bare optimizer at the same rate and seeds."""
    names = losses.variants
    with picture(file, 1.9 + 0.72 * len(losses.rates) + 0.6, 0.9 + 0.26 * len(names)) as (figure, axes):
        axes = axes[0, 0]
        axes.grid(False)
        changes = [[losses.change(name, rate) for rate in losses.rates] for name in names]
        most = max((abs(one) for row in changes for one in row if math.isfinite(one)), default=0) or 1
        image = axes.pcolormesh(changes, cmap="RdBu_r", vmin=-most, vmax=most, edgecolors="white", linewidth=1.5)
        for row, name in enumerate(names):
            for column, rate in enumerate(losses.rates):
                loss = losses.median(name, rate)
                if math.isfinite(loss):
                    far = abs(changes[row][column]) > 0.6 * most
                    axes.text(column + 0.5, row + 0.5, f"{loss:.3f}", ha="center", va="center", fontsize=8.5,
                              color="white" if far else style.INK)
        axes.set_xticks([column + 0.5 for column in range(len(losses.rates))], list(map(short, losses.rates)))
        axes.set_yticks([row + 0.5 for row in range(len(names))], names)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_xlabel("learning rate")
        axes.set_title("Final loss; blue is better than bare at the same rate")
        bar = figure.colorbar(image, ax=axes, fraction=0.05, aspect=30, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(f"difference, {losses.unit}")


def section(folder):
    """Lines of Markdown, and the pictures they show written into the folder."""
    lines = folder.lines("closed_loop")
    if not any(map(ended, lines)):
        return ["No run has a final loss."]
    losses = Losses(lines)
    draw_losses(losses, folder.path / "closed_loop.svg")
    draw_variants(losses, folder.path / "closed_loop_variants.svg")
    return ["![Final loss against learning rate](closed_loop.svg)", "", *difference_table(losses),
            "![Final losses of all variants](closed_loop_variants.svg)", "", *ranking(losses), *variants_table(losses), "",
            *headway_table(losses)]
