"""The output of bench_calibration as Markdown, for a report."""

import json

from inference import percent_with_interval


def rows_of(path):
    """The objects of each candidate, of each rule on each candidate, and of each rule, null and effect."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.startswith("{")]
    return ([row for row in rows if "rule" not in row],
            [row for row in rows if "rule" in row and "candidate" in row],
            [row for row in rows if "null" in row])


def label(row):
    if "alpha" not in row:
        return row["rule"]
    return f"{row['rule']}, alpha {row['alpha']:g}, max_sequences {row['max_sequences']}, pilot {row['pilot']}"


def unique(values):
    return list(dict.fromkeys(values))


def percent(share):
    return f"{100 * share:.2f}"


def false_accepts(rows):
    nulls = unique(row["null"] for row in rows)
    lines = ["| rule | " + " | ".join(nulls) + " |", "|---|" + "--:|" * len(nulls)]
    for name in unique(map(label, rows)):
        cells = [f"{percent(row['rate'])} (≤ {percent(row['upper_95'])}); {row['mean_pairs']:.0f}"
                 for row in rows if label(row) == name]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def power(rows):
    effects = unique(row["effect"] for row in rows)
    lines = ["| rule | gains | " + " | ".join(f"{effect:g}" for effect in effects) + " |",
             "|---|---|" + "--:|" * len(effects)]
    for name, null in unique((label(row), row["null"]) for row in rows):
        cells = [f"{percent_with_interval(row['accepted'], row['leaps'])}; {row['mean_pairs']:.0f}; "
                 f"{100 * row['decided_early'] / row['leaps']:.0f}"
                 for row in rows if (label(row), row["null"]) == (name, null)]
        lines.append(f"| {name} | {null} | " + " | ".join(cells) + " |")
    return lines


def smallest_found(rows):
    lines = []
    for name in unique(label(row) for row in rows if "alpha" in row):
        found = []
        for null in unique(row["null"] for row in rows):
            effects = [row["effect"] for row in rows
                       if (label(row), row["null"]) == (name, null) and row["rate"] >= 0.8]
            found.append(f"{null} {min(effects):g}" if effects else f"{null} none")
        lines.append(f"- {name}: " + ", ".join(found))
    return lines


def of_candidates(rows):
    def spread(key, form):
        values = sorted(row[key] for row in rows)
        return f"{values[0]:{form}} to {values[-1]:{form}}, median {values[len(values) // 2]:{form}}"

    upward = sum(row["mean_clipped_at_4_deviations"] > 1e-6 for row in rows)  # not just rounding
    steps = sorted(row["step"] for row in rows)
    horizons = sorted({row["horizon"] for row in rows})
    return [f"- {len(rows)} candidates with {min(row['pairs'] for row in rows)} pairs each, of steps {steps[0]} to "
            f"{steps[-1]}; horizons " + ", ".join(map(str, horizons)),
            f"- standard deviation of a candidate's gains, nats: {spread('deviation', '.2g')}",
            f"- skewness: {spread('skewness', '.2f')}; kurtosis (3 if Gaussian): {spread('kurtosis', '.1f')}",
            "- mean of the centred gains after a clip at 4 deviations, in deviations: "
            f"{spread('mean_clipped_at_4_deviations', '.4f')}; above 0 for {upward}"]


def candidate_by_candidate(rows):
    lines = ["| rule | median | largest | of candidate | candidates with a bound above alpha |", "|---|--:|--:|--:|--:|"]
    for name in unique(map(label, rows)):
        ranked = sorted((row for row in rows if label(row) == name), key=lambda row: row["rate"])
        worst = ranked[-1]
        above = sum(row["upper_95"] > row["alpha"] for row in ranked)
        lines.append(f"| {name} | {percent(ranked[len(ranked) // 2]['rate'])} | {percent(worst['rate'])} "
                     f"(≤ {percent(worst['upper_95'])}) | {worst['candidate']} | "
                     f"{above} of {len(ranked)} |")
    return lines


def text_of(candidates, judged_alone, judged):
    nothing = [row for row in judged if row["effect"] == 0]
    gains = [row for row in judged if row["effect"] > 0]
    return "\n".join([
        f"Each figure of {nothing[0]['leaps']} leaps. Gains are loss differences per sequence; margin 0.", "",
        "**False accepts**: leaps of true mean gain 0 that were accepted, % (one-sided 95 % Clopper-Pearson bound); "
        "mean pairs used.", "", *false_accepts(nothing), "",
        "**Real gains**, of which the null `real` is made in equal parts:", "", *of_candidates(candidates), "",
        "False accepts of leaps resampled from one candidate alone, %:", "", *candidate_by_candidate(judged_alone), "",
        "**Power**: accepted leaps by their true mean gain, in standard deviations of the gains: % [two-sided 95 % "
        "Clopper-Pearson interval]; mean pairs used; % decided before the last pair.", "", *power(gains), "",
        "Smallest of these gains that is found with a power of 80 %:", "", *smallest_found(gains), ""])
