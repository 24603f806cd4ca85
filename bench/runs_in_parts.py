"""Many short runs of the harness, in processes of their own: stopped at any time, they go on where they were."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from corpus import of_another_text

Line = dict[str, Any]

#: Says nothing about the run, which a later call tries again.
KILLED = "its process, or one beside it, was killed"


def parser_of(description: str | None, arenas: list[str], methods: tuple[str, ...], seeds: int) -> argparse.ArgumentParser:
    """What every such bench can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--arenas", nargs="+", choices=arenas, default=arenas)
    parser.add_argument("--methods", nargs="+", choices=methods, default=list(methods))
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--text", metavar="FOLDER", help="trained on in place of torch's Python sources: all text below it")
    parser.add_argument("--finetune-text", metavar="FOLDER", help="fine-tuned to in place of torch's C++ headers")
    parser.add_argument("--smoke", action="store_true", help="a tiny model and a few steps: whether everything runs")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Ends the program with one line where what it is told cannot be; makes the folder."""
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    if arguments.smoke and arguments.device != "cpu":
        parser.error("--smoke is for the CPU")
    named = {"python": arguments.text, "headers": arguments.finetune_text}
    arguments.texts = {data: folder for data, folder in named.items() if folder is not None}
    for folder in arguments.texts.values():
        if not Path(folder).is_dir():
            parser.error(f"'{folder}' is no folder of text")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    return arguments


def lines_of(log: Path) -> list[Line]:
    """What a log of one object a line holds; a last line that was not written to its end is taken off the file. Raises
    ValueError for a log of another form."""
    if not log.exists():
        return []
    whole, newline, cut = log.read_text().rpartition("\n")
    if cut:
        log.write_text(whole + newline)
    try:
        return [json.loads(text) for text in whole.splitlines()]
    except json.JSONDecodeError as error:
        raise ValueError(f"{log} is no log of one object a line ({error.msg}): name another folder") from None


def write_lines(log: Path, lines: list[Line]) -> None:
    """These alone; whoever is stopped meanwhile leaves the old log."""
    aside = log.with_suffix(".new")
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
    aside.replace(log)


def execute(job: Line) -> Line:
    """In a process of its own."""
    sys.path.insert(0, str(Path(__file__).parent))
    from harness.train import run

    return run(job)


class RunsInParts:
    """One line of `log` a run, made of what `arguments` say (parser_of). `key_of` tells runs apart, `wanted` names those
    that can be started now, done ones included, given the lines so far; the most telling first. A run that fails is a
    line that says why."""

    def __init__(self, log: Path, arguments: argparse.Namespace, key_of: Callable[[Line], Any],
                 wanted: Callable[[list[Line]], list[Line]]):
        self.log, self.jobs, self.device = log, arguments.jobs, arguments.device
        self.key_of, self.wanted = key_of, wanted
        self.size = "smoke" if arguments.smoke else arguments.device
        self.texts: dict[str, str] = arguments.texts
        every: list[Line] = lines_of(log)
        self.lines = [line for line in every if line.get("failed") != KILLED]
        self.end = time.monotonic() + arguments.seconds
        self._check_texts(arguments.arenas)
        if len(self.lines) < len(every):
            write_lines(log, self.lines)

    def _check_texts(self, names: list[str]) -> None:
        """A log of runs on one text is not mixed with those on another."""
        from harness.arenas import ARENAS
        from harness.tasks import fingerprints_of

        for name in names:
            for key, expected in fingerprints_of(ARENAS[name], self.texts).items():
                if of_another_text([line for line in self.lines if line["arena"] == name], expected, key):
                    raise ValueError(f"{self.log} holds runs of {name} on another text: name another folder")

    def pending(self, taken: set[Any]) -> list[Line]:
        done = {self.key_of(line) for line in self.lines} | taken
        return [job for job in self.wanted(self.lines) if self.key_of(job) not in done]

    def add(self, line: Line) -> None:
        self.lines.append(line)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        said = f"failed: {line['failed']}" if "failed" in line else f"{line['final']:.4f}"
        print(f"{len(self.lines)}: {line['arena']}, {line['method']} at {line['rate']:g}, seed {line['seed']}: {said}",
              flush=True)

    def go(self) -> bool:
        """Keeps every worker busy until nothing is left or the time is over; returns whether any run of all ended, or
        none was to be done."""
        before = len(self.lines)
        while self.pending(set()) and time.monotonic() < self.end:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(self.jobs, context) as pool:
                self._fill(pool)
        done = self.lines[before:]
        return not done or any("failed" not in line for line in done)

    def _fill(self, pool: concurrent.futures.ProcessPoolExecutor) -> None:
        running: dict[concurrent.futures.Future[Line], Line] = {}
        while True:
            taken = {self.key_of(job) for job in running.values()}
            free = self.jobs - len(running)
            for job in self.pending(taken)[:free] if time.monotonic() < self.end else []:
                running[pool.submit(execute, {**job, "size": self.size, "folder": str(self.log.parent),
                                              "texts": self.texts})] = job
            if not running:
                return
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    self.add(future.result())
                except BrokenProcessPool:
                    # Whichever run it was: one is told, and those beside it are begun anew in another pool.
                    self.add({**job, "device": self.device, "failed": KILLED})
                    return
