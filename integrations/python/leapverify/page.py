"""A report as one HTML page without scripts or anything from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from leapverify.comparison import differences, held_out_curve, levels_of, reference_of
from leapverify.figure_style import run_key
from leapverify.figures import comparison_figure, steps_figure, time_figure
from leapverify.ledger import looks_of, tries_of
from leapverify.page_style import STYLE
from leapverify.runs import Run
from leapverify.summary import summary_of
from leapverify.tables import (
    LEAP_COLUMNS,
    LOOK_COLUMNS,
    REACHED_COLUMNS,
    Row,
    leap_rows,
    ledger_rows,
    level_rows,
    look_rows,
    result_rows,
)
from leapverify.trace_events import Failure

#: Tries beyond these are not listed; trace.jsonl has them.
_MOST_TRIES = 500
#: Tables of more rows stand closed.
_SHORT_TABLE = 12


def _text(words: str) -> str:
    return html.escape(words)


def _paragraph(words: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{_text(words)}</p>"


def _figure(svg: str, caption: str) -> str:
    return f'<figure>{svg}</figure>{_paragraph(caption, "note")}' if svg else ""


def _heads(runs: Sequence[Run]) -> list[str]:
    """Names of runs above their columns, with the lines that they have in the pictures."""
    if len(runs) == 1:
        return [_text(runs[0].name)]
    return [f"{run_key(index)}{_text(run.name)}" for index, run in enumerate(runs)]


def _table(heads: Sequence[str], rows: Iterable[Row], kind: str) -> str:
    """A column for each run."""
    head = "".join(f"<th>{words}</th>" for words in heads)
    body = "".join(
        f"<tr><th>{_text(row.name)}</th>"
        + "".join(f"<td>{_text(value)}</td>" for value in row.values) + "</tr>" for row in rows)
    return (f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def _levels(runs: Sequence[Run]) -> str:
    """When each run reached the same losses."""
    reference = reference_of(runs)
    rows = level_rows(levels_of(runs), reference)
    if not rows:
        return ""
    width = len(REACHED_COLUMNS)
    names = "".join(f'<th colspan="{width}">{head}</th>' for head in _heads(runs))
    columns = "".join(f"<th>{_text(name)}</th>" for name in REACHED_COLUMNS * len(runs))
    body = "".join(f"<tr><th>{_text(row.name)}</th>"
                   + "".join(f"<td>{_text(value)}</td>" for value in row.values) + "</tr>"
                   for row in rows)
    return ('<h3>At equal loss</h3><div class="scroll"><table class="levels"><thead>'
            f"<tr><th>held-out loss of</th><th>nats</th>{names}</tr>"
            f"<tr><th></th><th></th>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
            + _paragraph("When a run was first scored at or below the loss. Cost: what probes, tries "
                         "and looks took until then, in training steps. Speed: in steps, cost "
                         f"included, against {runs[reference].name}.", "note"))


def _folded(summary: str, content: str, is_open: bool) -> str:
    attribute = " open" if is_open else ""
    return f"<details{attribute}><summary>{_text(summary)}</summary>{content}</details>"


def _header(runs: list[Run]) -> str:
    summary = summary_of(runs)
    tiles = "".join(f'<div class="tile"><b>{_text(tile.value)}</b>'
                    f"<span>{_text(tile.meaning)}</span></div>" for tile in summary.tiles)
    return (f"<header><p class=\"muted\">LeapVerify</p><h1>{_title(runs)}</h1>"
            f'{_paragraph(summary.sentence, "lead")}<div class="tiles">{tiles}</div></header>')


def _title(runs: Sequence[Run]) -> str:
    names = [_text(run.name) for run in runs]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _comparison(runs: Sequence[Run]) -> str:
    parts = ["<section><h2>Comparison</h2>",
             _figure(comparison_figure(runs, "all"),
                     "Thin lines: training losses, smoothed. Dotted: the final loss of "
                     f"{runs[reference_of(runs)].name}, with a ring where each run gets there. "
                     "The first twentieth of the steps may lie above the frame."),
             _levels(runs)]
    changed = differences(runs)
    if any(key.startswith("data.") for key, _ in changed) or len({run.unit_after("") for run in runs}) > 1:
        parts.append(_paragraph("The runs were not scored on the same text, or not by the same "
                                "unit: equal losses do not mean equal models.", "note"))
    if changed:
        table = _table(["", *_heads(runs)], [Row(key, values) for key, values in changed],
                       "config")
        parts.append(_folded("What differs in the configs", table, len(changed) <= _SHORT_TABLE))
    return "".join(parts) + "</section>"


def _ledger(runs: Sequence[Run]) -> str:
    heads = ["", *_heads(runs)]
    parts = ["<section><h2>Result and ledger</h2>", _table(heads, result_rows(runs), "results")]
    rows = ledger_rows(runs)
    saved = (" Steps saved are a lower bound (95 %) of what committed leaps were worth; what a raised rate is worth "
             "shows beside a run without.")
    if all(run.is_free or not run.leaps_on for run in runs):
        saved = ""
    if rows:
        parts += ["<h3>What verification did and took</h3>", _table(heads, rows, "ledger"),
                  _paragraph("Computed from the trace. Costs are counted in forward passes of one "
                             "sequence; time follows from their share." + saved, "note")]
    return "".join(parts) + "</section>"


def _listed(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    head = "".join(f"<th>{words}</th>" for words in columns)
    body = "".join("<tr>" + "".join(f'<td class="lines">{_text(cell)}</td>' for cell in row)
                   + "</tr>" for row in rows[:_MOST_TRIES])
    table = (f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
             f"<tbody>{body}</tbody></table></div>")
    if len(rows) > _MOST_TRIES:
        table += _paragraph(f"{len(rows) - _MOST_TRIES} more are in the trace.", "note")
    return _folded(title, table, len(rows) <= _SHORT_TABLE)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _leaps(run: Run) -> str:
    """The tables of tries, and of looks at a run whose learning rate is free."""
    tries, looks = tries_of(run.events), looks_of(run.events)
    parts = []
    if tries:
        parts.append(_listed(f"{_counted(len(tries), 'try', 'tries')}, and the reason of each verdict", LEAP_COLUMNS, leap_rows(tries), "leaps"))
    if looks:
        failed = sum(isinstance(one, Failure) for one in looks)
        title = _counted(len(looks) - failed, "look", "looks") + " at held-out loss" + (f", {failed} failed" if failed else "")
        parts.append(_listed(title, LOOK_COLUMNS, look_rows(looks), "looks"))
    if parts or not run.leaps_on:
        return "".join(parts)
    return _paragraph("It was never looked at." if run.is_free else "No leap was tried.", "muted")


def _run(run: Run, index: int, is_alone: bool) -> str:
    scored = held_out_curve(run).kind
    losses = ("" if run.training or run.validation else
              f"The run has no metrics: losses are those of its trace ({scored}). ")
    what = "looks at held-out loss" if run.is_free else "tries"
    marks = f"Marks: {what}, at the step and with the verdict. " if run.leaps_on else ""
    heading = "Curves" if is_alone else _text(run.name)
    return "".join([
        f"<section><h2>{heading}</h2>",
        _figure(steps_figure(run, f"steps{index}"), losses + marks
                + "The first twentieth of the steps may lie above the frame."),
        _figure(time_figure(run, f"time{index}"), "The same losses against time."),
        _leaps(run), "</section>"])


def page_of(runs: list[Run]) -> str:
    """The whole page."""
    is_alone = len(runs) == 1
    sections = [_header(runs)]
    if not is_alone:
        sections.append(_comparison(runs))
    details = [_run(run, index, is_alone) for index, run in enumerate(runs)]
    ledger = _ledger(runs)
    sections += [*details, ledger] if is_alone else [ledger, *details]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>LeapVerify: {_title(runs)}</title><style>{STYLE}</style></head>"
            f"<body>{''.join(sections)}</body></html>\n")
