import json
import re

from pipeline.report.page import Page, Part, overview, table


def entry(name, protocol, iou):
    return {
        "name": name, "split": "val", "images": 3, "crf": False, "scales": [1.0], "flip": True, "protocol": protocol,
        "supervision": "tags from boxes", "seed": 0, "mean_iou": iou, "subsets": {}, "coverage": 1.0,
        "per_class": {"class": ["background", "cat"], "iou": [iou, None]},
    }  # fmt: skip


def test_names_cannot_break_the_page_and_nothing_is_loaded():
    parts = [
        Part("Results", overview([entry("masks <b>", "full", 0.5)])),
        Part("Set aside", table(["a"], [["bad&id"]])),
    ]
    data = {"entries": [entry("</script><script>alert(1)</script>", "full", 0.25)]}
    html = Page("run <x> {{script}}", "3 images", parts, data).html()
    for expected in ("run &lt;x&gt;", "masks &lt;b&gt;", "bad&amp;id", "50.0", "<a href='#set-aside'>"):
        assert expected in html
    assert "masks <b>" not in html
    assert html.count("</script>") == 2
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert json.loads(text[1]) == data
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", html)
    assert "default-src 'none'" in html


def test_a_class_without_a_number_is_not_zero():
    assert "n/a" in overview([{**entry("a", "full", 0.5), "mean_iou": None}])
