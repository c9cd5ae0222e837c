from pipeline.report.page import Page, Strip


def entry(name, protocol, iou):
    return {
        "name": name, "split": "val", "images": 3, "crf": False, "scales": [1.0], "flip": True, "protocol": protocol,
        "supervision": "tags from boxes", "seed": 0, "mean_iou": iou, "subsets": {}, "coverage": 1.0,
        "per_class": {"class": ["background", "cat"], "iou": [iou, None]},
    }  # fmt: skip


def test_numbers_pictures_and_bad_items_are_there_and_names_cannot_break_the_page():
    metrics = {"entries": [entry("masks <b>", "full", 0.5), entry("masks <b>", "centre crop 513", 0.25)]}
    groups = [("val: best", [Strip("a<script>", [("image", "data:image/jpeg;base64,AAAA")])])]
    html = Page("run <x>", metrics, {"cat": "#ff0000"}, groups, [], [("bad&id", "truncated")]).html()
    for expected in (
        "run &lt;x&gt;",
        "masks &lt;b&gt;",
        "a&lt;script&gt;",
        "bad&amp;id",
        "truncated",
        "50.0",
        "25.0",
        "n/a",
    ):
        assert expected in html
    assert "<script>" not in html
    assert "http" not in html
    # Classes are listed once, for the first protocol.
    assert html.count("masks &lt;b&gt; (val)") == 1


def test_without_truth_it_says_so():
    html = Page("run", None, {}).html()
    assert "nothing was measured" in html
    assert "Set aside" not in html
