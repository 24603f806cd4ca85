"""How the pictures of a report look, and how they get into a page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

INK, MUTED, FAINT, GRID = "#1d2330", "#5f6875", "#b9c0ca", "#e7e9ed"
QUIET_LINE, FAINT_LINE = "#8b93a0", "#dfe3e8"

#: From dark to light, so that they differ in grey too.
REGIME_COLORS = {"chaotic": "#8c2d4e", "transition": "#e3a857", "stable": "#cfe6ea"}


@dataclass(frozen=True)
class RunStyle:
    color: str
    #: Lengths on and off, in line widths; None for a solid line.
    dashes: tuple[float, ...] | None
    marker: str

    @property
    def line(self) -> Any:
        """As matplotlib wants it."""
        return "solid" if self.dashes is None else (0.0, self.dashes)


#: Okabe and Ito's colours, which people who see few colours tell apart, each with dashes and a
#: marker of its own for print in grey. (Color Universal Design, 2002)
RUN_STYLES = (
    RunStyle("#1d2330", None, "o"),
    RunStyle("#d55e00", None, "D"),
    RunStyle("#0072b2", (6, 2), "s"),
    RunStyle("#009e73", (2, 1.5), "^"),
    RunStyle("#cc79a7", (8, 2, 2, 2), "v"),
    RunStyle("#e69f00", (1, 1), "P"),
    RunStyle("#56b4e9", (4, 1, 1, 1, 1, 1), "X"),
)


@dataclass(frozen=True)
class Mark:
    marker: str
    color: str
    filled: bool
    size: float


MARKS = {
    "leap committed": Mark("D", "#009e73", True, 7),
    "rate raised": Mark("^", "#0072b2", True, 8),
    "rate lowered": Mark("v", "#d55e00", True, 8),
    "went back": Mark("<", "#d55e00", True, 8),
    "slowed down": Mark("v", "#d55e00", False, 8),
    "not shown to be better": Mark("o", "#8b93a0", False, 6),
    "better than before": Mark("o", "#009e73", True, 6),
    "accepted, rate kept": Mark("o", "#0072b2", False, 6),
    "shadow": Mark("D", "#5f6875", False, 6),
    "rejected": Mark("x", "#8b93a0", True, 5),
    "failure": Mark("X", "#b3152a", True, 9),
}


#: matplotlib's settings.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leapverify",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.solid_capstyle": "round",
}


def run_style(index: int) -> RunStyle:
    """Of the n-th run, the same in every picture and table."""
    return RUN_STYLES[index % len(RUN_STYLES)]


#: Outlines of the markers in a box of 10 by 10.
_OUTLINES = {
    "o": "M2 5a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "D": "M5 1L9 5L5 9L1 5z",
    "s": "M2 2H8V8H2z",
    "^": "M5 1.5L9 8.5H1z",
    "v": "M5 8.5L9 1.5H1z",
    "P": "M3.7 1.5H6.3V3.7H8.5V6.3H6.3V8.5H3.7V6.3H1.5V3.7H3.7z",
    "X": "M3 1L5 3L7 1L9 3L7 5L9 7L7 9L5 7L3 9L1 7L3 5L1 3z",
}


def run_key(index: int) -> str:
    """A short piece of the line of the n-th run, for the head of a column."""
    style = run_style(index)
    dashes = "" if style.dashes is None else " ".join(f"{2 * one:g}" for one in style.dashes)
    return (f'<svg class="key" viewBox="0 0 30 10" aria-hidden="true">'
            f'<path d="M0 5H30" stroke="{style.color}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/><path transform="translate(10 0)" '
            f'd="{_OUTLINES[style.marker]}" fill="{style.color}"/></svg>')


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an SVG element whose ids no other of the page has."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
