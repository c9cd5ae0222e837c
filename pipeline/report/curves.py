"""Curves as SVG."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

Points = tuple[Sequence[float], Sequence[float]]


def line_plot(lines: Mapping[str, Points], x: str, y: str, mark: float | None = None) -> str:
    """An SVG element with one line per name.

    Args:
        lines: (x, y) values by name.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        mark: a place on the horizontal axis to mark.
    """
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for name, (across, up) in lines.items():
        axes.plot(across, up, label=name, linewidth=1.4)
    if mark is not None:
        axes.axvline(mark, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(frameon=False)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
