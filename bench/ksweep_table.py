"""Renders the lines of ksweep.py as Markdown and as a picture, beside the published numbers.

Usage: ksweep_table.py FOLDER... OUT.md; the picture is OUT.svg
"""

import collections
import json
import pathlib
import statistics
import sys

from inference import percent_with_interval
from ksweep import CASCADES, HORIZONS, KINDS, PREDICTORS

REGIMES = ["chaotic", "transition", "stable", "unknown"]
RULES = {"strict": "strict: L̂ < L",
         "adaptive": "adaptive: L̂ < L + σ, of the last ten reference losses before",
         "proximity": "proximity: within 5 % of L",
         "proximity_code": "proximity of the published code: L̂ < 1.005 L",
         "sequential": "sequential, alpha 0.05",
         "sequential_all": "sequential, alpha 0.05, on all sequences"}
# Mean checkpoints by regime, acceptance in % by regime and horizon, loss ratios of the momentum predictor.
Published = collections.namedtuple("Published", "model regimes strict proximity momentum")
# arXiv 2602.19580.
PUBLISHED = [
    Published("GPT-2 124M", {"chaotic": 1.6, "transition": 24.0, "stable": 13.4},
              {"transition": {5: "9.3 (7.9)", 10: "3.3 (3.4)", 25: "0.7 (0.0)"},
               "stable": {5: "24.3 (22.1)", 10: "18.8 (13.9)", 25: "5.8 (9.1)"}},
              {"transition": {5: "99.1", 10: "97.3", 25: "44.0", 50: "14.1"},
               "stable": {5: "98.9", 10: "95.3", 25: "74.6", 50: "54.1"}},
              {5: "122", 100: "10764"}),
    Published("Qwen2.5-1.5B", {"chaotic": 25.6, "transition": 12.4, "stable": 1.0},
              {"transition": {5: "37.2 (36.5)", 10: "31.3 (39.4)", 25: "22.9 (20.5)", 50: "17.8 (13.2)",
                              75: "7.9 (6.7)", 100: "6.2 (2.2)"}},
              {"transition": {5: "100", 10: "100", 25: "94.6", 50: "66.2", 75: "38.3", 100: "22.9"}},
              {5: "173", 100: "3009"}),
]

Lines = collections.namedtuple("Lines", "runs candidates observations links")


def read(folders):
    """The lines of all folders by kind; a run that is in several is taken once."""
    runs = {}
    for folder in folders:
        of_folder = {}
        for line in map(json.loads, (pathlib.Path(folder) / "ksweep.jsonl").read_text().splitlines()):
            of_folder.setdefault((line["seed"], line["run"]), []).append(line)
        for key, lines in of_folder.items():
            # A failed run gives way to one that has not.
            if key not in runs or "failed" in runs[key][0]:
                runs[key] = lines
    if not runs:
        sys.exit("no runs in " + ", ".join(map(str, folders)))
    ordered = [line for key in sorted(runs, key=lambda key: (key[0], KINDS.index(key[1]))) for line in runs[key]]
    models = sorted({(line["model"], line["steps"]) for line in ordered if line["event"] == "run"})
    if len(models) > 1:
        sys.exit(f"runs of different models or lengths, {models}: name folders of one")
    return Lines(*([line for line in ordered if line["event"] == event]
                   for event in ("run", "candidate", "observation", "link")))


def count(candidates, rule):
    return sum(rule in line["accepted"] for line in candidates), len(candidates)


def percent(candidates, rule):
    accepted, tried = count(candidates, rule)
    return f"{100 * accepted / tried:.1f}" if tried else "–"


def with_interval(candidates, rule):
    accepted, tried = count(candidates, rule)
    return percent_with_interval(accepted, tried) if tried else "–"


def markdown(head, rows):
    return ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|",
            *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def choose(lines, **wanted):
    return [line for line in lines if all(line[key] == value for key, value in wanted.items())]


def full(candidates):
    """Those with the optimizer's moments as they are."""
    return choose(candidates, moments="fp32")


def occurring(candidates):
    return [regime for regime in REGIMES if any(line["regime"] == regime for line in candidates)]


def published_beside(lines):
    """What was published of the same model; of GPT-2 124M for any other."""
    return next((one for one in PUBLISHED if lines.runs[0]["model"].startswith(one.model)), PUBLISHED[0])


def regimes_by_seed(lines, published):
    observations = choose(lines.observations, run="shadow")
    rows = []
    for seed in sorted({line["seed"] for line in observations}):
        counts = collections.Counter(line["regime"] for line in choose(observations, seed=seed))
        rows.append([seed, *(counts[regime] for regime in REGIMES)])
    means = [f"{statistics.mean(row[i + 1] for row in rows):.1f}" for i in range(len(REGIMES))]
    rows += [["mean", *means], [f"published, {published.model}", *(published.regimes.get(regime, "1") for regime in REGIMES)]]
    return markdown(["seed", *REGIMES], rows)


def published_layout(candidates, cell, paper):
    """Rows by horizon, columns by regime, each beside the published."""
    regimes = [regime for regime in REGIMES if regime in occurring(candidates) or regime in paper]
    head = ["K"]
    for regime in regimes:
        tried = len({(line["seed"], line["step"]) for line in choose(candidates, regime=regime)})
        head += [f"{regime} (n = {tried})"] + ([f"{regime}, published"] if regime in paper else [])
    rows = []
    for horizon in HORIZONS:
        row = [horizon]
        for regime in regimes:
            row.append(cell(choose(candidates, regime=regime, horizon=horizon)))
            if regime in paper:
                row.append(paper[regime].get(horizon, "–"))
        rows.append(row)
    return markdown(head, rows)


def strict_cell(candidates):
    linear = choose(candidates, predictor="linear")
    if not linear:
        return "–"
    return f"{with_interval(linear, 'strict')} ({percent(choose(candidates, predictor='quadratic_code'), 'strict')})"


def proximity_cell(candidates):
    return with_interval(choose(candidates, predictor="linear"), "proximity")


def by_predictor(candidates, cell):
    rows = [[predictor, *(cell(choose(candidates, predictor=predictor, horizon=horizon)) for horizon in HORIZONS)]
            for predictor in PREDICTORS]
    return markdown(["predictor", *(f"K = {horizon}" for horizon in HORIZONS)], rows)


def acceptance(candidates, all_are_more):
    lines = []
    for rule, meaning in RULES.items():
        if rule == "sequential_all" and not all_are_more:
            continue
        parts = {"all": candidates, **{regime: choose(candidates, regime=regime) for regime in occurring(candidates)}}
        for name, some in parts.items():
            checkpoints = len({(line["seed"], line["step"]) for line in some})
            lines += [f"{meaning}; {name}, {checkpoints} checkpoints:", "",
                      *by_predictor(some, lambda own, rule=rule: with_interval(own, rule)), ""]
    return lines[:-1]


def number(value):
    """Four digits, however large."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def ratio_cell(candidates):
    """Median and largest loss ratio, and how many were not finite."""
    ratios = [line["candidate_loss"] / line["reference_loss"] for line in candidates
              if line["candidate_loss"] is not None]
    lost = len(candidates) - len(ratios)
    if not ratios:
        return "–" if not candidates else f"none of {lost} finite"
    return f"{number(statistics.median(ratios))}; {number(max(ratios))}" + (f"; {lost} not finite" if lost else "")


def momentum(candidates, published):
    rows = []
    for horizon in HORIZONS:
        of_horizon = choose(candidates, predictor="momentum", horizon=horizon)
        rows.append([horizon, *(ratio_cell(choose(of_horizon, moments=moments)) for moments in ("fp32", "fp16")),
                     published.momentum.get(horizon, "–")])
    return markdown(["K", "moments in fp32", "moments in fp16", f"published, {published.model}"], rows)


def gain_cell(candidates):
    gains = [line["gain"] for line in candidates if line["gain"] is not None]
    return f"{statistics.mean(gains):+.4f}; {statistics.median(gains):+.4f}" if gains else "–"


def cascades(links):
    rows = []
    for depth, horizon in CASCADES.values():
        of_cascade = choose(links, depth=depth, horizon=horizon)
        for regime in occurring(of_cascade):
            some = choose(of_cascade, regime=regime)
            begun = len(choose(some, link=1))
            held = sum(line["held"] for line in some)
            shares = []
            for link in range(1, depth + 1):
                tried = choose(some, link=link)
                if tried:
                    shares.append(f"{sum(line['held'] for line in tried)}/{len(tried)}")
            rows.append([f"({depth}, {horizon})", regime, begun, f"{held / begun:.2f}", ", ".join(shares)])
    return markdown(["(depth, K)", "regime", "begun", "links held, mean", "held of tried, link by link"], rows)


def last_losses(observations):
    """Of the probes at the last observation, by seed and run."""
    kinds = ["shadow", *CASCADES]
    rows = []
    for seed in sorted({line["seed"] for line in observations}):
        losses = {line["run"]: line["loss"] for line in choose(observations, seed=seed)}
        rows.append([seed, *(f"{losses[kind]:.4f}" if kind in losses else "–" for kind in kinds)])
    return markdown(["seed", "no leaps", *(f"({depth}, {horizon})" for depth, horizon in CASCADES.values())], rows)


def introduction(lines):
    head = lines.runs[0]
    seeds = sorted({line["seed"] for line in lines.runs})
    beyond = ""
    if has_more_sequences(lines):
        beyond = f"; the gains and `sequential_all` rest on all {head['all_sequences']} that were scored"
    return (f"{head['model']} from fresh weights, {head['steps']} steps; seeds {', '.join(map(str, seeds))}. "
            f"Candidates are judged on the same {head['sequences']} held-out sequences at every checkpoint{beyond}. "
            "Acceptance in %, with 95 % Clopper-Pearson intervals in brackets, which take candidates of one run for "
            "independent, as they are not. L is the held-out loss now, L̂ at the candidate. Regimes are read at each "
            "checkpoint by the published thresholds, without hysteresis.")


def has_more_sequences(lines):
    return lines.runs[0]["all_sequences"] > lines.runs[0]["sequences"]


def what_is_not_there(lines):
    failed = [f"- {line['run']} of seed {line['seed']}: {line['failed']}" for line in lines.runs if "failed" in line]
    there = {(line["seed"], line["run"]) for line in lines.runs}
    seeds = sorted({seed for seed, _ in there})
    missing = [f"{kind} of seed {seed}" for seed in seeds for kind in KINDS if (seed, kind) not in there]
    untried = sum("not_tried" in line for line in lines.candidates)
    out = []
    if untried:
        out += [f"{untried} candidates were not made, since a shorter horizon of theirs gave no finite loss; they "
                "count as rejected.", ""]
    if missing:
        out += [f"**Not run:** {', '.join(missing)}.", ""]
    if failed:
        out += ["**Runs that failed:**", "", *failed, ""]
    return out


def text_of(lines, picture):
    candidates, published = full(lines.candidates), published_beside(lines)
    sections = {
        "**Checkpoints by regime**; the first has none to compare with.": regimes_by_seed(lines, published),
        "**Strict acceptance**, linear (quadratic_code, as the published code computes it); the published figures in "
        "the same order:": published_layout(candidates, strict_cell, published.strict),
        "**Proximity acceptance** within 5 %, linear:": published_layout(candidates, proximity_cell, published.proximity),
        "**The momentum predictor**: loss at the candidate ÷ loss now, median; largest. The published code tries "
        "three step lengths, keeps the best and corrects no bias; here it is one, with the optimizer's own bias "
        "correction:":
            momentum(lines.candidates, published),
        "**Cascades** of linear leaps, begun at every checkpoint and committed where strict accepts, Adam's moments "
        "zeroed after each leap, as published:": cascades(lines.links),
        "Held-out loss of these runs at the last checkpoint, and of the one that nothing changed:":
            last_losses(lines.observations),
        "**Value**: gain of a candidate, L − L̂ in nats per token, mean; median, over all checkpoints:":
            by_predictor(candidates, gain_cell),
        "**Acceptance by every rule**, at all checkpoints and by regime:":
            acceptance(candidates, has_more_sequences(lines)),
    }
    out = [introduction(lines), "", f"![acceptance by strict]({picture})", ""]
    for title, body in sections.items():
        out += [title, "", *body, ""]
    return "\n".join(out + what_is_not_there(lines))


def render(folders, picture):
    """The tables of all folders as Markdown that shows a picture, which is written there."""
    from ksweep_figure import draw

    lines = read(folders)
    if not choose(lines.observations, run="shadow") or not full(lines.candidates):
        return "\n".join([introduction(lines), "", "No run that nothing changed (shadow) has ended, so there are no tables.",
                          "", *what_is_not_there(lines)])
    published = published_beside(lines)
    strict = {regime: {horizon: float(cell.split()[0]) for horizon, cell in cells.items()}
              for regime, cells in published.strict.items()}
    draw(full(lines.candidates), published.model, strict, picture)
    return text_of(lines, picture.name)


def main():
    if len(sys.argv) < 3 or not sys.argv[-1].endswith(".md"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[-1])
    out.write_text(render(sys.argv[1:-1], out.with_suffix(".svg")), encoding="utf-8")


if __name__ == "__main__":
    main()
