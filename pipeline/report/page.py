"""A report as one HTML page that loads nothing; its style and script lie in ``page/`` beside this file."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

_FILES = Path(__file__).with_suffix("")


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        heading: what the list of contents says.
        html: content.
    """

    heading: str
    html: str

    @property
    def anchor(self) -> str:
        """Id of the section."""
        return re.sub(r"\W+", "-", self.heading.lower())


@dataclass(frozen=True)
class Page:
    """Content of a page.

    Attributes:
        title: heading.
        note: line below it.
        parts: sections from top to bottom.
        data: what the script reads: ``gallery`` (see :mod:`pipeline.report.gallery`), ``entries`` of metrics.json,
            ``commands`` that show an image again by layer, ``base`` of links to image files, ``start``: values
            the controls of the gallery begin with.
    """

    title: str
    note: str
    parts: Sequence[Part]
    data: dict[str, Any] = field(default_factory=dict)

    def html(self) -> str:
        """The page."""
        links = "".join(f"<a href='#{part.anchor}'>{escape(part.heading)}</a>" for part in self.parts)
        sections = "".join(
            f"<section id='{part.anchor}'><h2>{escape(part.heading)}</h2>{part.html}</section>" for part in self.parts
        )
        values = {
            "title": escape(self.title),
            "note": escape(self.note),
            "links": links,
            "sections": sections,
            "style": _file("page.css"),
            "script": _file("tables.js") + _file("gallery.js"),
            # Nothing in the data can end the element it stands in.
            "data": json.dumps(self.data, separators=(",", ":")).replace("<", "\\u003c"),
        }
        return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _file("page.html"))


def gallery_part(note: str) -> Part:
    """The section with all images."""
    return Part("Images", f"<p class='note'>{escape(note)}</p>{_file('gallery.html')}")


def classes_part() -> Part:
    """The section with numbers of every class."""
    return Part("Classes", _file("classes.html"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts; the first column stands left."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def figures(plots: Iterable[tuple[str, str]]) -> str:
    """Plots (title, SVG) side by side."""
    each = (f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>" for title, svg in plots)
    return f"<div class='flow'>{''.join(each)}</div>"


def percent(value: float | None) -> str:
    """A share as per cent with one digit."""
    return "n/a" if value is None else f"{100 * value:.1f}"


def overview(entries: Sequence[dict[str, Any]]) -> str:
    """The rows of metrics.json as a table; numbers come first, so that a narrow screen shows them."""
    subsets = list(dict.fromkeys(name for entry in entries for name in entry["subsets"]))
    published = ["published"] if any(entry.get("published") is not None for entry in entries) else []
    header = ["masks", "split", "mIoU %", *published, *(f"mIoU % {name}" for name in subsets), "coverage %"]
    header += ["images", "CRF", "scales", "protocol", "labels", "seed"]
    rows = []
    for entry in entries:
        scales = ", ".join(f"{scale:g}" for scale in entry["scales"]) + (" + flip" if entry["flip"] else "")
        numbers = [entry["mean_iou"], *(entry.get(name) for name in published)]
        numbers += [*(entry["subsets"].get(name) for name in subsets), entry["coverage"]]
        cells = [percent(number) for number in numbers]
        if entry.get("deviation") is not None:
            cells[0] += f" ± {percent(entry['deviation'])}"
        how = [entry["images"], "yes" if entry["crf"] else "no", scales or "-"]
        how += [entry["protocol"], entry["supervision"], entry["seed"]]
        rows.append([entry["name"], entry["split"], *cells, *map(str, how)])
    return table(header, rows)


def _file(name: str) -> str:
    return (_FILES / name).read_text()
