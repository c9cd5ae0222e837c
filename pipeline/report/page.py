"""The report of a run as one HTML page without links to anything."""

from dataclasses import dataclass, field
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { margin-bottom: 0; } h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; padding-bottom: .2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.note { color: #777; font-size: .9rem; } .flow { display: flex; flex-wrap: wrap; gap: 1rem; }
.strip { border-bottom: 1px solid var(--line); margin: 0; padding: .6rem 0; }
.strip > div { display: flex; flex-wrap: wrap; gap: .5rem; } figure { margin: 0; }
figcaption { font-size: .8rem; color: #777; text-align: center; } svg { height: auto; max-width: 100%; }
.key i { border-radius: .2rem; display: inline-block; height: .8rem; margin: 0 .3rem 0 1rem; width: .8rem; }
"""


@dataclass(frozen=True)
class Strip:
    """One image with its pictures: captions and ``data:`` addresses."""

    title: str
    pictures: list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Content of the report.

    Attributes:
        title: name of the run.
        metrics: document of the stage ``evaluate``, if there was one.
        colours: class name -> CSS colour.
        groups: heading and strips of images.
        plots: title and SVG.
        set_aside: id and reason of bad items that were left out of the data.
    """

    title: str
    metrics: dict[str, Any] | None
    colours: dict[str, str]
    groups: list[tuple[str, list[Strip]]] = field(default_factory=list)
    plots: list[tuple[str, str]] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)

    def html(self) -> str:
        """The page."""
        parts = [
            f"<h1>{escape(self.title)}</h1>",
            *self._numbers(),
            "<h2>Curves</h2><div class='flow'>",
            *(f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>" for title, svg in self.plots),
            "</div><h2>Images</h2>",
            _legend(self.colours),
            *(_group(heading, strips) for heading, strips in self.groups),
            *self._left_out(),
        ]
        head = (
            "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style>"
        )
        return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"

    def _left_out(self) -> list[str]:
        if not self.set_aside:
            return []
        return ["<h2>Set aside</h2>", _table(["image", "reason"], [list(row) for row in self.set_aside])]

    def _numbers(self) -> list[str]:
        if self.metrics is None:
            return ["<p class='note'>No true masks were given, so nothing was measured.</p>"]
        entries = self.metrics["entries"]
        return ["<h2>Results</h2>", _overview(entries), "<h2>Classes</h2>", _per_class(entries)]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _overview(entries: list[dict[str, Any]]) -> str:
    subsets = list(dict.fromkeys(name for entry in entries for name in entry["subsets"]))
    header = ["masks", "split", "images", "CRF", "scales", "protocol", "labels", "seed", "mIoU %"]
    header += [f"mIoU % {name}" for name in subsets] + ["coverage %"]
    rows = []
    for entry in entries:
        scales = ", ".join(f"{scale:g}" for scale in entry["scales"]) + (" + flip" if entry["flip"] else "")
        fixed = [entry["name"], entry["split"], entry["images"], "yes" if entry["crf"] else "no", scales or "-"]
        fixed += [entry["protocol"], entry["supervision"], entry["seed"]]
        numbers = [entry["mean_iou"], *(entry["subsets"].get(name) for name in subsets), entry["coverage"]]
        rows.append([*map(str, fixed), *map(_percent, numbers)])
    return _table(header, rows)


def _per_class(entries: list[dict[str, Any]]) -> str:
    first = entries[0]["protocol"]
    shown = [entry for entry in entries if entry["name"] != "all background" and entry["protocol"] == first]
    names = shown[0]["per_class"]["class"]
    header = ["class", *(f"{entry['name']} ({entry['split']})" for entry in shown)]
    rows = [[name, *(_percent(e["per_class"]["iou"][index]) for e in shown)] for index, name in enumerate(names)]
    note = f"IoU in per cent, protocol {first}; n/a: in neither truth nor prediction, and not part of the mean."
    return _table(header, rows) + f"<p class='note'>{escape(note)}</p>"


def _legend(colours: dict[str, str]) -> str:
    keys = "".join(f"<i style='background:{colour}'></i>{escape(name)}" for name, colour in colours.items())
    return f"<p class='key note'>{keys}</p>"


def _group(heading: str, strips: list[Strip]) -> str:
    parts = [f"<h3>{escape(heading)}</h3>"]
    for strip in strips:
        pictures = "".join(_figure(escape(caption), url) for caption, url in strip.pictures)
        parts.append(f"<div class='strip'><b>{escape(strip.title)}</b><div>{pictures}</div></div>")
    return "".join(parts)


def _figure(caption: str, url: str) -> str:
    return f"<figure><img src='{url}' alt='{caption}' loading='lazy'><figcaption>{caption}</figcaption></figure>"
