"""Whether a bench gives other figures than before: two results folders of one machine, figure by figure.

Usage: compare.py BEFORE AFTER

For each figure that both hold it prints AFTER ÷ BEFORE with an interval from the repetitions in the raw logs, and
whether that is a regression, an improvement or within noise. The intervals hold for all figures together at 95 %
(Bonferroni). Losses are paired by seed. To be flagged an interval must lie wholly beyond what is no change of ours (5 %
of a clock, 1 % of a ratio within one run or of a memory, nothing of a loss); what has one repetition is not judged.
Clocks that are not ours (bare, eager, compiled) are judged too: where they move, the machine or torch did.
Exit status: 0, 1 where there is a regression, 2 where the folders do not compare.
"""

import argparse
import sys
from collections import Counter

import inference
from measured import figures_of
from results_folder import ResultsFolder, Unusable, status_of

LEVEL = 0.95
REGRESSION, IMPROVEMENT, WITHIN, NOT_JUDGED = "regression", "improvement", "within noise", "not judged"


def flag(ratio, figure):
    """What an interval of AFTER / BEFORE says."""
    low, high = ratio.low, ratio.high
    if not ratio.has_interval:
        # What never varies has no noise to hide in.
        if ratio.reason == inference.ALL_EQUAL or ratio.value == 1:
            low = high = ratio.value
        else:
            return NOT_JUDGED
    risen, fallen = low > 1 + figure.tolerance, high < 1 / (1 + figure.tolerance)
    if not (risen or fallen):
        return WITHIN
    return IMPROVEMENT if risen == figure.higher_is_better else REGRESSION


def compare(before, after):
    """[(log, name, figure before, figure after, ratio, flag)] of two folders of one machine."""
    for what, ours, theirs in zip(("processor", "GPU"), before.machine(), after.machine()):
        if ours != theirs:
            raise Unusable(f"{before.path} and {after.path} do not compare: {what} "
                           f"{', '.join(ours)!r} and {', '.join(theirs)!r}")
    old, new = figures_of(before), figures_of(after)
    pairs = [(log, name, old[log][name].common_with(figure), figure.common_with(old[log][name]))
             for log in new for name, figure in new[log].items() if name in old.get(log, {})]
    pairs = [pair for pair in pairs if pair[-1].n > 0]
    if not pairs:
        holds = " and ".join(f"{folder.path} ({', '.join(found) or 'none'})"
                             for folder, found in ((before, old), (after, new)))
        raise Unusable(f"no common figures in the logs of {holds}")
    level = 1 - (1 - LEVEL) / len(pairs)
    rows = []
    for log, name, earlier, later in pairs:
        ratio = later.ratio_to(earlier, level)
        rows.append((log, name, earlier, later, ratio, flag(ratio, later)))
    return rows


def show(rows):
    for log, name, before, after, ratio, judged in rows:
        print(f"{judged:12}  {log}: {name}: {before.value:.4g} → {after.value:.4g} {after.unit}, "
              f"ratio {ratio.value:.4f} ({ratio.show('.4f')}), n {before.n} and {after.n}")
    counts = Counter(row[-1] for row in rows)
    print(f"{len(rows)} figures: " + ", ".join(f"{counts[judged]} {judged}" for judged in
                                               (REGRESSION, IMPROVEMENT, WITHIN, NOT_JUDGED)))


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    arguments = parser.parse_args(words)

    def judge():
        rows = compare(ResultsFolder(arguments.before), ResultsFolder(arguments.after))
        show(rows)
        return int(any(row[-1] == REGRESSION for row in rows))

    return status_of(judge)


if __name__ == "__main__":
    sys.exit(main())
