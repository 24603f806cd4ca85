"""Where the time of a training step goes, from Chrome traces of torch.profiler or of the trainer, as Markdown.

Usage: profile_table.py TRACE.json... [--steps 5] [--rows 25]; a TRACE may end on .gz

Of traces with GPU kernels: the GPU's time a step by kind of kernel, beside the wall time, then the kernels that take
the most. Of traces of a CPU alone: the self time of operations, which leaves out that of the operations they call in
the same thread. Wall time is from the start of the first operation or kernel to the end of the last, under the
profiler, which slows the CPU. With two traces or more, the ratio is the first's time ÷ the second's.
"""

import argparse
import gzip
import json
import pathlib
import re
import sys
import zlib
from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass

from results_folder import Unusable, status_of

STEPS, ROWS = 5, 25
#: Kinds of kernels by what their names contain, in any case. The first that fits counts: kernels of attention are made
#: with cutlass too, index and copy kernels are elementwise ones, and one that torch.compile fused is named after all
#: that it does.
KINDS = {
    "attention": r"flash|fmha|sdpa|dot_do_o|convert_dq",
    "matrix products": r"gemm|gemv|cutlass|nvjet|cublas|xmma|splitk",
    "norm": r"(layer|rms)_?norm|gammabeta|computegradinput|rowwisemoments",
    "cross entropy, softmax": r"softmax|nll_loss|cross_entropy",
    "optimizer, clipping": r"multi_tensor|fused_?adam|foreach|lpnorm|normtwoops",
    "embedding, index": r"embedding|index_?(select|func|elementwise|put)|indexing|gather|scatter|grad_weight"
                        r"|segment_offset|partials_per_segment|radixsort",
    "copies, casts": r"memcpy|memset|copy_kernel|catarray|fused__to_copy_\d+$",
    "other elementwise": r"elementwise|dropout|triton_poi",
    "other": r"",
}
OPERATION, ON_GPU = "cpu_op", ("kernel", "gpu_memcpy", "gpu_memset")
NAME_LENGTH = 100

Event = namedtuple("Event", "category name thread start end")


@dataclass(frozen=True)
class Profile:
    """Of all steps of a trace; times in ns."""
    label: str
    on_gpu: bool
    #: By the name of the kernel, or of the operation.
    time: dict
    calls: dict
    #: In which at least one kernel or copy ran.
    busy: int
    wall: int

    @property
    def total(self):
        return sum(self.time.values())


def nanoseconds(microseconds):
    """Whole, as the profiler's clock counts: a double holds them up to 2^43 µs, but their sums are rounded."""
    return round(1e3 * microseconds)


def events_of(path):
    opening = gzip.open if str(path).endswith(".gz") else open
    try:
        with opening(path, "rt", encoding="utf-8") as file:
            found = json.load(file)["traceEvents"]
        events = [Event(one["cat"], one["name"], (one["pid"], one["tid"]), nanoseconds(one["ts"]),
                        nanoseconds(one["ts"]) + nanoseconds(one["dur"]))
                  for one in found if one.get("ph") == "X" and one.get("cat") in (OPERATION, *ON_GPU)]
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None
    except KeyError as error:
        raise Unusable(f"{path} is no Chrome trace: {error} is missing") from None
    except (AttributeError, EOFError, TypeError, ValueError, zlib.error) as error:
        raise Unusable(f"{path} is no Chrome trace: {error}") from None
    if not events:
        raise Unusable(f"{path} has no events of operations or kernels")
    return events


def self_times(events):
    """ns by name, without those of events nested in the same thread, and calls by name."""
    times, calls = Counter(), Counter()
    threads = defaultdict(list)
    for event in events:
        threads[event.thread].append(event)
    for in_thread in threads.values():
        around = []
        for event in sorted(in_thread, key=lambda event: (event.start, -event.end)):
            while around and around[-1].end <= event.start:
                around.pop()
            times[event.name] += event.end - event.start
            # One that dispatches to itself, as under autocast, is a single call.
            calls[event.name] += not around or around[-1].name != event.name
            if around:
                times[around[-1].name] -= min(event.end, around[-1].end) - event.start
            around.append(event)
    return times, calls


def union(events):
    """ns in which at least one of the events went on."""
    covered = until = 0
    for event in sorted(events, key=lambda event: event.start):
        covered += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return covered


def profile_of(path, label):
    events = events_of(path)
    on_gpu = any(event.category == "kernel" for event in events)
    counted = [event for event in events if (event.category in ON_GPU) == on_gpu]
    if on_gpu:
        times, calls = Counter(), Counter(event.name for event in counted)
        for event in counted:
            times[event.name] += event.end - event.start
    else:
        times, calls = self_times(counted)
    return Profile(label, on_gpu, times, calls, union(counted),
                   max(event.end for event in events) - min(event.start for event in events))


def kind_of(name):
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE))


def short(name):
    """A kernel's name without what all of them have in common, as a cell of a table."""
    name = re.sub(r"^void |at::native::|\(anonymous namespace\)::", "", name)
    name = name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH - 1]}…"
    return f"`{name}`".replace("|", "\\|")


def milliseconds(time, steps):
    return f"{1e-6 * time / steps:.3f}"


def ratio_cells(values):
    if len(values) < 2:
        return []
    return [f"{values[0] / values[1]:.2f}" if values[1] else "–"]


def markdown(head, left, rows):
    """With the first `left` columns set to the left."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * left + "--:|" * (len(head) - left),
            *("| " + " | ".join(row) + " |" for row in rows)]


def ratio_head(profiles):
    return [f"{profiles[0].label} ÷ {profiles[1].label}"] if len(profiles) > 1 else []


def summary(profiles, steps):
    """Rows of a name and a time of each profile."""
    rows = []
    if profiles[0].on_gpu:
        for kind in KINDS:
            times = [sum(time for name, time in one.time.items() if kind_of(name) == kind) for one in profiles]
            if any(times):
                rows.append((kind, times))
    rows.append(("all kernels and copies" if profiles[0].on_gpu else "all operations", [one.total for one in profiles]))
    if profiles[0].on_gpu:
        rows.append(("GPU busy", [one.busy for one in profiles]))
    rows.append(("wall time", [one.wall for one in profiles]))
    if profiles[0].on_gpu:
        rows.append(("GPU idle", [one.wall - one.busy for one in profiles]))
    return markdown(["ms a step", *(one.label for one in profiles), *ratio_head(profiles)], 1, [
        [name, *(milliseconds(time, steps) for time in times), *ratio_cells(times)] for name, times in rows])


def single(profiles, steps, limit):
    """The kernels or operations that take the most in all profiles together, and what is left of each profile."""
    on_gpu = profiles[0].on_gpu
    together = sum((Counter(one.time) for one in profiles), Counter())
    names = [name for name, _ in together.most_common()]

    def row(words, of):
        times = [sum(one.time[name] for name in of) for one in profiles]
        calls = [sum(one.calls[name] for name in of) for one in profiles]
        cells = [cell for time, count in zip(times, calls)
                 for cell in (milliseconds(time, steps), f"{round(count / steps, 2):g}")]
        return [*words, *cells, *ratio_cells(times)]

    rows = [row([short(name), *([kind_of(name)] if on_gpu else [])], [name]) for name in names[:limit]]
    if names[limit:]:
        rows.append(row([f"{len(names) - limit} others", *([""] if on_gpu else [])], names[limit:]))
    head = ["kernel", "kind"] if on_gpu else ["operation, self time"]
    columns = [title for one in profiles for title in (f"{one.label}, ms a step", "calls a step")]
    return markdown([*head, *columns, *ratio_head(profiles)], len(head), rows)


def labels_of(paths):
    """The files' names without their endings, or the paths where two are the same."""
    names = [pathlib.Path(path).name.removesuffix(".gz").removesuffix(".json") for path in paths]
    return names if len(set(names)) == len(names) else list(map(str, paths))


def table_of(paths, steps=STEPS, rows=ROWS):
    """As Markdown; throws Unusable."""
    profiles = [profile_of(path, label) for path, label in zip(paths, labels_of(paths))]
    for path, one in zip(paths, profiles):
        if one.on_gpu != profiles[0].on_gpu:
            with_kernels, without = (path, paths[0]) if one.on_gpu else (paths[0], path)
            raise Unusable(f"{with_kernels} has GPU kernels and {without} has none")
    return "\n".join([*summary(profiles, steps), "", *single(profiles, steps, rows)])


def positive(word):
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} must be a whole number of at least 1")
    return int(word)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="+", metavar="TRACE")
    parser.add_argument("--steps", type=positive, default=STEPS, help="that each trace covers")
    parser.add_argument("--rows", type=positive, default=ROWS, help="kernels or operations to list")
    arguments = parser.parse_args(words)
    return status_of(lambda: print(table_of(arguments.traces, arguments.steps, arguments.rows)))


if __name__ == "__main__":
    sys.exit(main())
