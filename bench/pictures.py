"""How the pictures of a report look, and how they are written: the style is that of the package's own reports."""

import contextlib
import importlib.util
import pathlib
import sys

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter


def load_style():
    """Without the package, whose import needs its compiled part."""
    file = pathlib.Path(__file__).parents[1] / "integrations" / "python" / "leapverify" / "figure_style.py"
    spec = importlib.util.spec_from_file_location("figure_style", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up there
    spec.loader.exec_module(module)
    return module


style = load_style()
# A page may be dark, and axes are of letters and numbers that must be read on it.
SETTINGS = {**style.STYLE, "figure.facecolor": "white", "savefig.facecolor": "white"}


@contextlib.contextmanager
def picture(file, width, height, rows=1, columns=1, **subplots):
    """Gives (figure, array of axes), and writes an SVG when they are drawn."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **subplots)
        yield figure, axes
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def short(number, _=None):
    """0.0003 as 3e-4: what learning rates are called."""
    return f"{number:.3g}" if 0.1 <= number < 1000 else f"{number:.1e}".replace(".0e", "e").replace("e-0", "e-")


def learning_rates(axes, rates):
    """A logarithmic axis with a tick at each rate, or at the decades where they would stand too close."""
    axes.set_xscale("log")
    if len(rates) <= 7:
        axes.set_xticks(sorted(rates))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(FuncFormatter(short))
    else:
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("learning rate")
