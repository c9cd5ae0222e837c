"""Curves as SVG."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import color_sequences, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLOURS = color_sequences["petroff10"]  # made for people with any kind of colour vision
Points = tuple[Sequence[float], Sequence[float]]


def line_plot(lines: Mapping[str, Points], x: str, y: str, mark: float | None = None) -> str:
    """An SVG element with one line per name.

    Args:
        lines: (x, y) values by name.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        mark: a place on the horizontal axis to mark.
    """
    figure, axes = _axes(x, y)
    for name, (across, up) in lines.items():
        axes.plot(across, up, label=name, linewidth=1.4)
    if mark is not None:
        axes.axvline(mark, color="grey", linestyle=":", linewidth=1)
    return _svg(figure, axes, len(lines))


def histogram(shares: Mapping[str, NDArray[np.float64]], x: str, y: str) -> str:
    """An SVG element with one stepped line per name: shares of values in equal parts of 0..1."""
    figure, axes = _axes(x, y)
    for name, values in shares.items():
        axes.stairs(values, np.linspace(0, 1, len(values) + 1), label=name, linewidth=1.4)
    axes.set(xlim=(0, 1), ylim=(0, None))
    return _svg(figure, axes, len(shares))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.set_prop_cycle(color=_COLOURS)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Figure, axes: Axes, lines: int) -> str:
    """The figure as an element of a page: transparent, its black in the colour of the text around it."""
    if lines > 1:
        axes.legend(frameon=False, fontsize="small")
    stream = io.StringIO()
    # Words stay words; with a fixed salt, equal figures are equal bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pseudomask"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace("#000000", "currentColor")
