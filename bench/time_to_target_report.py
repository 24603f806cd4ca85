"""The tables of the time-to-target bench: who is when at the loss of tuned AdamW, from which grid, at what cost."""

import math
import statistics

import inference
from pictures import short
from time_to_target_pictures import draw_rates, draw_speed_ups
from time_to_target_runs import BASELINE, CLOCKS, OURS, arenas_of

INTERVAL = "95 % interval of the median over seeds (paired BCa bootstrap)"


def median(values, form="{:.3g}"):
    return form.format(statistics.median(values)) if values else ""


def by_speed(arena):
    """Methods with confirming runs, the fastest first."""
    def speed(method):
        return statistics.median(arena.speed_ups(method.confirmed, "steps").values() or [0])

    return sorted((method for method in arena.methods.values() if method.confirmed), key=speed, reverse=True)


def chance(signs):
    return "" if signs.p is None else f"{signs.p:.2g}"


def speed_cells(arena, runs):
    """Reached, then a median and an interval for each clock."""
    cells = [f"{arena.reached(runs)} of {len(runs)}"]
    for clock in CLOCKS:
        speed_ups = list(arena.speed_ups(runs, clock).values())
        found = inference.bootstrap(speed_ups) if speed_ups else None
        if found is None:
            cells += ["", ""]
        elif found.value == 0 and not found.has_interval:
            cells += ["not reached", ""]
        else:
            cells += [f"{found.value:.2f}", found.show(".2f")]
    return cells


def target_row(arena, method):
    head = f"| {method.name} | {short(method.rate)} | {len(method.confirmed)} | "
    if method is arena.baseline:
        reached = f"{arena.reached(method.confirmed)} of {len(method.confirmed)}"
        return head + " | ".join([reached, *["1 by definition", ""] * len(CLOCKS), "", ""]) + " |"
    speed_ups = list(arena.speed_ups(method.confirmed, "steps").values())
    tally, p = "", ""
    if speed_ups:
        signs = inference.sign_test([one - 1 for one in speed_ups])
        tally, p = f"{signs.positive}, {signs.negative}, {signs.ties}", chance(signs)
    return head + " | ".join([*speed_cells(arena, method.confirmed), tally, p]) + " |"


def target_table(arena):
    """All against tuned AdamW."""
    seeds = arena.baseline.confirmed
    return [f"Target: {arena.target:.4f} nats, the median final validation loss of {BASELINE} at "
            f"{short(arena.baseline.rate)}, which {arena.reached(seeds)} of its {len(seeds)} seeds reach; where one "
            "does not, its whole run stands for its way. Speed-up: that way over the method's own by seed, above 1 the "
            "method is faster, 0 where it does not reach the target; steps hold the verification until then. "
            f"Median over n seeds, and the {INTERVAL}; then the seeds that were faster, slower and equal in steps, and "
            "the chance of so uneven a split (two-sided sign test).", "",
            "| method | rate | n | reached | " + " | ".join(f"{clock} | interval" for clock in CLOCKS) +
            " | faster, slower, equal | p |",
            "|---|--:|--:|--:|" + "--:|---|" * len(CLOCKS) + "---|--:|",
            *(target_row(arena, method) for method in by_speed(arena))]


def loss_table(arena):
    rows = []
    theirs = arena.baseline.confirmed
    for method in by_speed(arena):
        cells = [method.name, len(method.confirmed), median(method.values("final"), "{:.4f}")]
        seeds = [seed for seed in method.confirmed if seed in theirs]
        if method.name != BASELINE and seeds:
            before, after = ([runs[seed]["final"] for seed in seeds] for runs in (theirs, method.confirmed))
            change = inference.paired_bootstrap(before, after, "difference")
            signs = inference.sign_test(inference.pairs(before, after, "difference"))
            cells += [f"{change.value:+.4f}", change.show("+.4f"), change.n,
                      f"{signs.negative}, {signs.positive}, {signs.ties}", chance(signs)]
        else:
            cells += [""] * 5
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return [f"Final validation loss in nats, the median of n seeds, and less that of {BASELINE} of the same seed: "
            f"{INTERVAL}.", "",
            f"| method | n | loss | − {BASELINE} | interval | pairs | better, worse, equal | p |",
            "|---|--:|--:|--:|---|--:|---|--:|", *rows]


def grid_table(arena):
    def cell(method, rate):
        final = "failed" if method.grid[rate] is None else f"{method.grid[rate]:.3f}"
        return f"**{short(rate)}: {final}**" if rate == method.rate else f"{short(rate)}: {final}"

    seeds = sorted({line["seed"] for method in arena.methods.values() for line in method.lines
                    if line["purpose"] == "grid"})
    return [f"The grid of each method at seed {', '.join(map(str, seeds)) or 'none'}: its own learning rate, and the "
            "final loss; n = 1 each, so no interval. The best is in bold; a neighbour that failed is worse.", "",
            "| method | grid | worse neighbours on both sides |", "|---|---|---|",
            *(f"| {method.name} | {', '.join(cell(method, rate) for rate in method.grid)} | {method.bracket} |"
              for method in arena.methods.values())]


def cost_table(arena):
    memory = arena.baseline.values("peak_bytes") if arena.baseline else []
    rows = []
    for method in arena.methods.values():
        peaks = method.values("peak_bytes")
        share = f"{statistics.median(peaks) / statistics.median(memory):.2f}" if peaks and memory else ""
        seconds = [line["curve"][-1][1] for line in method.confirmed.values()]
        failed = method.failed
        why = f": {failed[0].get('failed', 'its loss is not finite')}" if failed else ""
        cells = [method.name, len(method.confirmed), median(seconds), median(method.values("tries"), "{:g}"),
                 median(method.values("accepted"), "{:g}"), median(method.values("cost_steps"), "{:g}"),
                 median(method.values("rate_scale")), median([peak / 2**20 for peak in peaks], "{:.0f}"), share,
                 f"{len(failed)} of {len(method.lines)}{why}"]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return ["What the confirming runs took, medians of n: seconds of training and verification, tries, accepted ones, "
            "the verification's cost in training steps, what the learning rate ended at as a multiple of its schedule, "
            f"peak memory, and that over {BASELINE}'s. Failed: of all runs, the grid's too.", "",
            "| method | n | seconds | tries | accepted | cost | rate × | peak MiB | × | failed |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|", *rows]


def every_rate_table(arena):
    """From whatever rate one starts: AdamW's loss there, and when LeapVerify is at the target of the tuned one."""
    ours = arena.methods.get(OURS)
    if ours is None:
        return []
    rows = []
    for rate in sorted({line["rate"] for line in ours.lines}):
        runs = ours.at(rate)
        if not runs:
            rows.append(f"| {short(rate)} | 0 | {'| ' * 9}|")
            continue
        theirs = [line["final"] for line in arena.baseline.at(rate).values()]
        cells = [short(rate), len(runs), f"{median(theirs, '{:.4f}')} ({len(theirs)})",
                 median([line["final"] for line in runs.values()], "{:.4f}"), *speed_cells(arena, runs)]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return [f"{OURS} from every rate of its grid, against {BASELINE} at its best rate: n runs of the grid and "
            f"confirming ones, final losses (of {BASELINE} at the same rate too, its runs in brackets), and speed-ups as "
            "above.", "",
            f"| rate | n | {BASELINE} | {OURS} | reached | " + " | ".join(f"{clock} | interval" for clock in CLOCKS) +
            " |", "|--:|--:|--:|--:|--:|" + "--:|---|" * len(CLOCKS), *rows, *area_between(arena, ours)]


def area_between(arena, ours):
    """What LeapVerify is worth to someone who knows no rate: by the logarithm of it, all are alike."""
    finals = {rate: [[line["final"] for line in method.at(rate).values()] for method in (arena.baseline, ours)]
              for rate in sorted({line["rate"] for line in ours.lines})}
    known = {rate: statistics.median(theirs) - statistics.median(mine)
             for rate, (theirs, mine) in finals.items() if theirs and mine}
    if len(known) < 2:
        return []
    from scipy.integrate import trapezoid

    lowest, highest = min(known), max(known)
    area = trapezoid(list(known.values()), [math.log(rate) for rate in known]) / math.log(highest / lowest)
    return ["", "The area between the two curves of final losses over the logarithm of the rate, ÷ its width, from "
            f"{short(lowest)} to {short(highest)}: {OURS} ends {area:+.4f} nats below {BASELINE}."]


def tables(arena):
    if arena.target is None:
        return [f"No target: {BASELINE} has no confirming run at its best rate.", "", *grid_table(arena), "",
                *cost_table(arena)]
    found = [target_table(arena), loss_table(arena), every_rate_table(arena), grid_table(arena), cost_table(arena)]
    return [line for table in found if table for line in (*table, "")]


def section(folder):
    """Lines of Markdown, and the pictures they show written into the folder."""
    arenas = arenas_of(folder.lines("time_to_target"))
    out = []
    if draw_speed_ups([arena for arena in arenas if arena.target is not None],
                      folder.path / "time_to_target_speed_up.svg"):
        out += ["![Speed-up to the loss of tuned AdamW](time_to_target_speed_up.svg)", ""]
    draw_rates(arenas, folder.path / "time_to_target_rates.svg")
    out += ["![Final loss against learning rate](time_to_target_rates.svg)", ""]
    for arena in arenas:
        out += [f"### {arena.name}, {arena.device}", "", *tables(arena)]
    return out
