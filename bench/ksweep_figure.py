"""Draws acceptance by `strict` against the horizon: a panel for each regime that occurs, a line for each predictor."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "ksweep"  # the same picture for the same numbers
import matplotlib.pyplot as plt

from ksweep import HORIZONS, PREDICTORS

# Colour, marker and dashes: the published predictors solid, those over a window dashed, the moments dotted.
STYLES = {
    "linear": ("#1d2330", "o", "-"), "quadratic": ("#d55e00", "D", "-"), "quadratic_paper": ("#e69f00", "s", "-"),
    "quadratic_code": ("#cc79a7", "^", "-"), "least_squares": ("#0072b2", "o", "--"), "average": ("#8b93a0", "D", "--"),
    "outer_momentum": ("#56b4e9", "s", "--"), "ema_trend": ("#009e73", "^", "--"), "low_rank": ("#8c2d4e", "v", "--"),
    "momentum": ("#b3152a", "P", ":"),
}
REGIMES = ["chaotic", "transition", "stable", "unknown"]


def share(candidates):
    return 100 * sum("strict" in line["accepted"] for line in candidates) / len(candidates)


def draw(candidates, model, published, path):
    """published: acceptance of `linear` in %, by regime and horizon, of a model."""
    regimes = [regime for regime in REGIMES if any(line["regime"] == regime for line in candidates)]
    figure, panels = plt.subplots(1, len(regimes), figsize=(2.2 + 4.0 * len(regimes), 4.2), sharey=True, squeeze=False,
                                  layout="constrained")
    for panel, regime in zip(panels[0], regimes):
        here = [line for line in candidates if line["regime"] == regime]
        checkpoints = len({(line["seed"], line["step"]) for line in here})
        for predictor in PREDICTORS:
            color, marker, dashes = STYLES[predictor]
            shares = [share([line for line in here if line["predictor"] == predictor and line["horizon"] == horizon])
                      for horizon in HORIZONS]
            panel.plot(HORIZONS, shares, color=color, marker=marker, linestyle=dashes, label=predictor, markersize=5,
                       linewidth=1.5)
        if regime in published:
            panel.plot(*zip(*published[regime].items()), color=STYLES["linear"][0], marker="o", markersize=8,
                       linestyle="", markerfacecolor="none", label=f"linear, published\n({model})")
        panel.set_title(f"{regime}, {checkpoints} checkpoints", fontsize=10)
        panel.set_xscale("log")
        panel.set_xticks(HORIZONS, [str(horizon) for horizon in HORIZONS])
        panel.minorticks_off()
        panel.set_xlabel("horizon K, steps")
        panel.set_ylim(-3, 103)
        panel.grid(color="#e7e9ed")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("accepted by strict, %")
    figure.legend(*panels[0][-1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
