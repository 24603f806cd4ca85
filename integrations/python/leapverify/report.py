"""Renders runs as one HTML page that needs nothing beside it: losses, leaps, costs, a comparison.

Usage: python -m leapverify.report RUN... [-o report.html]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from leapverify import command
from leapverify._core import FileError
from leapverify.runs import PathLike, read_runs


def _default_output(runs: Sequence[PathLike]) -> Path:
    """In the folder of a single run, else in that of now."""
    if len(runs) > 1:
        return Path("report.html")
    only = Path(runs[0])
    return (only if only.is_dir() else only.parent) / "report.html"


def render(runs: Sequence[PathLike], output: PathLike | None = None) -> Path:
    """Writes the report of run folders of the trainer, or of traces alone, and returns where.

    Without `output` that is report.html in the folder of a single run, in the current folder with
    several. Raises FileError (one line that names the file) for what is no run, and ImportError
    without matplotlib.
    """
    from leapverify.page import page_of  # what reads runs needs no matplotlib

    if not runs:
        raise FileError("no run was given")
    path = _default_output(runs) if output is None else Path(output)
    page = page_of(read_runs(runs))
    # Under another name first, so that a report is never half written.
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(page, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise FileError(f"{path}: cannot write: {error.strerror}") from None
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="leapverify report",
        description="Renders runs as one HTML page: losses, leaps, costs, and a comparison.")
    parser.add_argument("runs", nargs="+", metavar="RUN",
                        help="run folder of the trainer, or a trace.jsonl")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="default: report.html in the folder of a single run, else here")
    options = parser.parse_args(arguments)
    return command.run(
        "leapverify report", "matplotlib", lambda: render(options.runs, options.output))


if __name__ == "__main__":
    sys.exit(main())
