"""Renders results folders: FOLDER/report.md with a table of every figure, and pictures beside it.

Usage: report.py FOLDER...

Every figure is computed from the raw logs. A table says of how many values a figure is, its interval or why there is
none, and the command that made the log.
"""

import argparse
import sys

import any_rate_report
import calibration_table
import closed_loop_report
import inference
import ksweep_table
import time_to_target_report
from kernels import table as kernels_table
from measured import LOGS, Repeated, figures_of
from results_folder import ResultsFolder, Unusable, status_of

TITLES = {
    "any_rate": "Final loss from any learning rate", "time_to_target": "Time to the loss of tuned AdamW",
    "closed_loop": "Final losses at every learning rate",
    "cost": "Cost of a run in which every try is rejected", "step_overhead": "Cost of a step without a try",
    "shared_verification": "Verification shared by ranks", "python_overhead": "Cost of a step of the Python package",
    "throughput": "The trainer against PyTorch",
    "calibration": "What the rules accept", "ksweep": "The published experiment again", "kernels": "Kernels",
}


def number(value, unit):
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    return f"{value:.4g} {unit}" if unit not in ("ratio", "share") else f"{value:.4g}"


def plain_section(figures):
    rows = []
    for name, figure in figures.items():
        found = figure.estimate()
        interval = found.show(".4g") if figure.unit != "bytes" or not found.has_interval else (
            f"{number(found.low, 'bytes')} to {number(found.high, 'bytes')}")
        spread = ""
        if isinstance(figure, Repeated):
            spread = f"{number(min(figure.values), figure.unit)} to {number(max(figure.values), figure.unit)}"
        rows.append(f"| {name} | {number(found.value, figure.unit)} | {figure.n} | {interval} | {spread} |")
    return ["Medians of n repetitions, with the 95 % interval of the median (BCa bootstrap).", "",
            "| figure | median | n | interval | smallest and largest |", "|---|--:|--:|---|---|", *rows]


def section_of(log, folder, figures):
    try:
        return known_section(log, folder, figures)
    except KeyError as error:
        raise Unusable(f"{folder.path}: the log {log} has a line without {error}") from None


def known_section(log, folder, figures):
    if log == "any_rate":
        return any_rate_report.section(folder)
    if log == "time_to_target":
        return time_to_target_report.section(folder)
    if log == "closed_loop":
        return closed_loop_report.section(folder)
    if log == "calibration":
        return [calibration_table.text_of(*calibration_table.rows_of(folder.log(log)))]
    if log == "ksweep":
        return [ksweep_table.render([folder.path], folder.path / "ksweep.svg")]
    if log == "kernels":
        return [kernels_table.table(*kernels_table.rows_of(folder.path / "kernels.json"))]
    return plain_section(figures)


def report(folder):
    found = figures_of(folder)
    if not found:
        raise Unusable(f"{folder.path} holds no log with figures; known are {', '.join(LOGS)}")
    made_on = ["```", *folder.environment, "```"] if folder.environment else ["The machine is not recorded."]
    lines = [f"# {folder.path.resolve().name}", "", *made_on, "",
             f"Of fewer than {inference.LEAST_OF_BOOTSTRAP} values no bootstrap interval is given; of that many one of 95 % "
             "covers the median in some 90 % of cases. Each interval and each p is for itself, not for a table together."]
    for log, figures in found.items():
        command = folder.command(log)
        file = "kernels.json" if log == "kernels" else folder.log(log).name
        made = f"by `{command}`" if command else "its command is not recorded"
        lines += ["", f"## {TITLES[log]}", "", f"Raw log: [{file}]({file}), {made}.", "",
                  *section_of(log, folder, figures)]
    return "\n".join(lines).rstrip() + "\n"


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    arguments = parser.parse_args(words)

    def render():
        for name in arguments.folders:
            folder = ResultsFolder(name)
            (folder.path / "report.md").write_text(report(folder), encoding="utf-8")
            print(folder.path / "report.md")

    return status_of(render)


if __name__ == "__main__":
    sys.exit(main())
