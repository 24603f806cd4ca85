"""From the raw logs of a results folder to figures: what was measured, in which unit, and its repetitions."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace

import inference
import ksweep_table
from closed_loop import first_below
from results_folder import Unusable

#: What machines and logs differ by without a change of ours: of clocks read in different runs (the bare step of two
#: runs on one machine, an hour apart, differed by 3 %), of ratios within one run, and of what is counted.
CLOCK, WITHIN_A_RUN, COUNTED = 0.05, 0.01, 0.0


@dataclass(frozen=True)
class Figure:
    unit: str
    #: A change of no more than that share is no regression.
    tolerance: float
    higher_is_better: bool = False

    def common_with(self, other):
        """This figure, of the repetitions that can be held against those of the other."""
        return self


@dataclass(frozen=True)
class Repeated(Figure):
    """Repetitions that have nothing to do with those of another run."""
    values: tuple = ()

    @property
    def n(self):
        return len(self.values)

    @property
    def value(self):
        return statistics.median(self.values)

    def estimate(self):
        return inference.bootstrap(self.values)

    def ratio_to(self, before, level):
        return inference.ratio(before.values, self.values, level)


@dataclass(frozen=True)
class Paired(Figure):
    """Repetitions that begin alike in every run: values by seed."""
    by_seed: dict = None

    @property
    def n(self):
        return len(self.by_seed)

    @property
    def value(self):
        return statistics.median(self.by_seed.values())

    def common_with(self, other):
        return replace(self, by_seed={seed: self.by_seed[seed] for seed in self.by_seed if seed in other.by_seed})

    def estimate(self):
        return inference.bootstrap(list(self.by_seed.values()))

    def ratio_to(self, before, level):
        seeds = list(before.by_seed)
        return inference.paired_ratio([before.by_seed[seed] for seed in seeds], [self.by_seed[seed] for seed in seeds],
                                      level)


@dataclass(frozen=True)
class Summarized(Figure):
    quartiles: inference.Quartiles = None

    @property
    def n(self):
        return self.quartiles.n

    @property
    def value(self):
        return self.quartiles.median

    def estimate(self):
        return inference.Estimate(self.quartiles.median, self.n, reason="the log holds quartiles only")

    def ratio_to(self, before, level):
        return inference.ratio_of_medians(before.quartiles, self.quartiles, level)


@dataclass(frozen=True)
class Counted(Figure):
    successes: int = 0
    n: int = 1

    @property
    def value(self):
        return self.successes / self.n

    def estimate(self):
        return inference.proportion(self.successes, self.n)

    def ratio_to(self, before, level):
        return inference.ratio_of_proportions((before.successes, before.n), (self.successes, self.n), level)


def clock(values, unit="ms"):
    return Repeated(unit, CLOCK, values=tuple(values))


def ratios(above, below, higher_is_better=False):
    return Repeated("ratio", WITHIN_A_RUN, higher_is_better,
                    tuple(top / bottom for top, bottom in zip(above, below)))


def step_overhead(folder):
    rounds = [line for line in folder.lines("step_overhead") if "round" in line]
    figures = {}
    for way in dict.fromkeys(line["wrapped"] for line in rounds):
        bare, wrapped = ([line[key] for line in rounds if line["wrapped"] == way] for key in ("bare_ms", "wrapped_ms"))
        figures[f"step, {way} ÷ bare"] = ratios(wrapped, bare)
        figures[f"step, {way}"] = clock(wrapped)
        figures["step, bare"] = clock(bare)
    return figures


def shared_verification(folder):
    lines = folder.lines("shared_verification")
    sizes = next((line for line in lines if line.get("summary")), None)
    if sizes is None:
        return {}
    rounds = [line for line in lines if "round" in line]
    alone, shared = ([line[key] for line in rounds] for key in ("alone_seconds", "shared_seconds"))
    what = f"{sizes['sequences']} sequences by {sizes['ranks']} ranks"
    return {f"{what} ÷ by one, times the ranks": Repeated("ratio", WITHIN_A_RUN, values=tuple(
                sizes["ranks"] * ours / one for ours, one in zip(shared, alone))),
            f"{what}": clock(shared, "s")}


def throughput(folder):
    lines = folder.lines("throughput")
    sizes = next((line["sizes"] for line in lines if "sizes" in line), None)
    if sizes is None:
        return {}
    what = f"{sizes['model']}, {sizes['device']}, {sizes['precision']}, {sizes['batch']} × {sizes['context']}"
    measured = defaultdict(list)
    for line in lines:
        if "what" in line:
            measured[line["what"]].append(line)
    times = {name: [line["ms"] for line in found] for name, found in measured.items()}
    figures = {}
    for name, found in measured.items():
        if name != "trainer" and "trainer" in times:
            figures[f"{what}: speed of the trainer ÷ {name}"] = ratios(times[name], times["trainer"], True)
        figures[f"{what}: step of {name}"] = clock(times[name])
        figures[f"{what}: peak memory of {name}"] = Repeated("bytes", WITHIN_A_RUN, values=tuple(
            line["peak_memory_bytes"] for line in found))
    return figures


def python_overhead(folder):
    lines = [line for line in folder.lines("python_overhead") if "step" in line]
    figures = {}
    bare, steps = None, defaultdict(list)
    for line in lines:
        if line["way"] == "bare":
            bare = line
        elif bare is not None:
            steps[line["way"]].append((line, bare))
    for way, found in steps.items():
        figures[f"Python step, {way} ÷ bare"] = ratios([line["step"] for line, _ in found],
                                                       [bare["step"] for _, bare in found])
        figures[f"Python step, {way}"] = clock([line["step"] for line, _ in found], "s")
        figures[f"Python call, {way} ÷ bare step"] = ratios([line["call"] for line, _ in found],
                                                            [bare["step"] for _, bare in found])
    if lines:
        bare = [line for line in lines if line["way"] == "bare"]
        figures["Python call, bare ÷ bare step"] = ratios([line["call"] for line in bare],
                                                          [line["step"] for line in bare])
        figures["Python step, bare"] = clock([line["step"] for line in bare], "s")
    return figures


#: Names of the variants of whole runs; the preset verified is named by what it does.
COSTS = {"bare": "bare", "auto": "preset auto"}


def cost(folder):
    """The runs at the tuned rate, where every try is rejected; of those at the slow rate there is one each."""
    lines = folder.lines("cost")
    # Older logs say it in a line after the rounds.
    tuned = next((line["lr"] for line in lines if "round" in line or "rounds" in line), None)
    runs = [line for line in lines if "variant" in line and ended(line)]
    figures = {}
    rounds = defaultdict(dict)
    for line in runs:
        if line["lr"] == tuned:
            of_variant = rounds[COSTS.get(line["variant"], "every try rejected")]
            of_variant[line.get("round", len(of_variant))] = line
    bare = rounds.pop("bare", {})
    for what, own in rounds.items():
        both = sorted(bare.keys() & own.keys())
        for name in ("train_seconds", "cpu_seconds") if both else ():
            times, bare_times = ([of_rounds[number][name] for number in both] for of_rounds in (own, bare))
            figures[f"whole run, {name}, {what} ÷ bare"] = ratios(times, bare_times)
            figures[f"whole run, {name}, {what}"] = clock(times, "s")
            figures[f"whole run, {name}, bare"] = clock(bare_times, "s")
    slow = {line["variant"]: line for line in runs if line["lr"] != tuned}
    for name, line in slow.items():
        figures[f"{name} at {line['lr']:g}: final loss"] = Paired("nats", COUNTED, by_seed={0: line["final"]})
        reached = first_below(line["curve"], slow["bare"]["final"]) if name != "bare" and "bare" in slow else None
        if reached is not None:
            figures[f"{name} at {line['lr']:g}: steps to the bare run's final loss"] = Paired(
                "steps", COUNTED, by_seed={0: reached})
    return figures


def kernels(folder):
    report = folder.document("kernels")
    if report is None:
        return {}
    entries = defaultdict(list)
    for entry in report["benchmarks"]:
        if entry.get("run_type", "iteration") == "iteration" and "error_message" not in entry:
            parts = [part for part in entry["name"].split("/")
                     if part != "manual_time" and not part.startswith(("iterations:", "repeats:"))]
            entries[f"{report['context'].get('device', 'cpu')}: {'/'.join(parts)}"].append(entry)
    figures = {}
    for name, found in entries.items():
        times = [1e-6 * entry["bytes"] / entry["GB/s"] for entry in found]
        if len(found) > 1:
            figures[name] = clock(times)
        else:
            figures[name] = Summarized("ms", CLOCK, quartiles=inference.Quartiles(
                times[0], found[0]["spread_percent"] / 100, found[0]["iterations"]))
    return figures


def ended(line):
    """Whether a run has a final loss: neither failed nor diverged."""
    return math.isfinite(line.get("final", math.nan))


def failures(lines):
    return Counted("share", COUNTED, successes=sum(not ended(line) for line in lines), n=len(lines))


def closed_loop(folder):
    """Final losses by variant and rate; and by variant over all rates, which few seeds at each do not decide."""
    lines, finals = defaultdict(list), defaultdict(dict)
    for line in folder.lines("closed_loop"):
        lines[line["variant"]].append(line)
        if ended(line):
            variant = f"{line['variant']}, {line['curve'][-1][0]} steps"
            finals[f"{variant}: final loss over all rates"][line["lr"], line["seed"]] = line["final"]
            finals[f"{variant}: final loss at {line['lr']:g}"][line["seed"]] = line["final"]
    return {**{name: Paired("nats per byte", COUNTED, by_seed=found) for name, found in finals.items()},
            **{f"{variant}: failed runs": failures(found) for variant, found in lines.items()}}


def calibration(folder):
    """What a rule accepts, of no gain and of some. Candidates are drawn anew for each folder, so none is one by one."""
    figures = {}
    for row in folder.lines("calibration"):
        if "null" in row:
            rule = row["rule"] + "".join(f", {key} {row[key]:g}" for key in ("alpha", "max_sequences", "pilot")
                                         if key in row)
            name = "false accepts" if row["effect"] == 0 else f"accepts of a gain of {row['effect']:g} deviations"
            figures[f"{rule}, {row['null']}: {name}"] = Counted(
                "share", COUNTED, row["effect"] > 0, row["accepted"], row["leaps"])
    return figures


def time_to_target(folder):
    """The confirming runs of each method, and how many of all its runs failed."""
    every, confirming = defaultdict(list), defaultdict(list)
    for line in folder.lines("time_to_target"):
        every[f"{line['arena']}, {line['method']}"].append(line)
        if line["purpose"] == "confirm":
            confirming[f"{line['arena']}, {line['method']} at {line['rate']:g}, {line['steps']} steps, "
                       f"{line['device']}"].append(line)
    figures = {f"{name}: failed runs": failures(lines) for name, lines in every.items()}
    for name, lines in confirming.items():
        good = [line for line in lines if ended(line)]
        if good:
            figures[f"{name}: final loss"] = Paired("nats", COUNTED, by_seed={
                line["seed"]: line["final"] for line in good})
            figures[f"{name}: time"] = clock([line["curve"][-1][1] for line in good], "s")
            figures[f"{name}: peak memory"] = Repeated("bytes", WITHIN_A_RUN, values=tuple(
                line["peak_bytes"] for line in good))
    return figures


def any_rate(folder):
    """Final losses of each method at each rate, and how many of its runs failed."""
    every, finals = defaultdict(list), defaultdict(dict)
    for line in folder.lines("any_rate"):
        name = f"{line['arena']}, {line['method']}{':' if line['variant'] else ''}{line['variant']}"
        if line["purpose"] == "tune":
            continue
        every[name].append(line)
        if ended(line):
            finals[f"{name}, {line['purpose']} at {line['rate']:g}, warm-up {line['warmup']:g}, {line['steps']} steps: "
                   "final loss"][line["seed"]] = line["final"]
    return {**{name: Paired("nats", COUNTED, by_seed=found) for name, found in finals.items()},
            **{f"{name}: failed runs": failures(lines) for name, lines in every.items()}}


def ksweep(folder):
    """What `strict` accepts of each predictor at each horizon, with the optimizer's moments as they are."""
    lines, tried = folder.lines("ksweep"), defaultdict(list)
    for line in ksweep_table.full(ksweep_table.choose(lines, event="candidate")):
        tried[line["predictor"], line["horizon"]].append(line)
    figures = {f"{predictor}, {horizon} steps ahead: accepted by strict":
               Counted("share", COUNTED, True, *ksweep_table.count(candidates, "strict"))
               for (predictor, horizon), candidates in tried.items()}
    if runs := ksweep_table.choose(lines, event="run"):
        figures["failed runs"] = Counted("share", COUNTED, successes=sum("failed" in line for line in runs), n=len(runs))
    return figures


#: By the raw log they are read from, in the order of a report.
LOGS = {"any_rate": any_rate, "time_to_target": time_to_target, "closed_loop": closed_loop, "cost": cost,
        "step_overhead": step_overhead, "shared_verification": shared_verification, "python_overhead": python_overhead,
        "throughput": throughput, "calibration": calibration, "ksweep": ksweep, "kernels": kernels}


def figures_of(folder):
    """{log: {name: Figure}} of all that the folder holds."""
    found = {}
    for log, read in LOGS.items():
        try:
            found[log] = read(folder)
        except KeyError as error:
            raise Unusable(f"{folder.path}: the log {log} has a line without {error}") from None
    return {log: figures for log, figures in found.items() if figures}
