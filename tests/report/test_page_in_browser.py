"""The page as a person uses it, in headless Chromium."""

import json

import pytest
from scenes import CLASSES, Scenes, data_of, many

TIMES = 50
IMAGES = 100 * TIMES
SECONDS = 1.0
DRAWN = "return document.getElementById('place').textContent !== ''"
FORGET = "document.getElementById('place').textContent = ''"
PLACE = "return document.getElementById('place').textContent"
FIRST = "return document.querySelector('.card').title"
TITLE = "return document.getElementById('viewer-title').textContent"
OPEN = "return document.getElementById('viewer').open"
COLOUR = """const canvas = document.getElementById('canvas');
const one = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
one.drawImage(canvas, Math.floor(canvas.width * arguments[0]), canvas.height / 2, 1, 1, 0, 0, 1, 1);
return [...one.getImageData(0, 0, 1, 1).data]"""
SET = """const e = document.getElementById(arguments[0]); e.value = arguments[1];
e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input'))"""
CHOICES = [
    ("sort", ("id", "random", "median", "better", "poorer", "ignored", "best", "worst"), IMAGES),
    ("split", ("1", "0", "*"), IMAGES),
    ("warning", ("pixels", "tags", "empty"), IMAGES // 10),
    ("warning", ("",), IMAGES),
    ("show", ("difference", "activation", "truth", "image", "mask"), IMAGES),
    ("palette", ("colour-blind safe", "data set"), IMAGES),
    ("search", ("val", "-7"), 100),
    ("search", ("",), IMAGES),
    ("opacity", ("10", "65"), IMAGES),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return Scenes(tmp_path_factory.mktemp("many"), 100)


@pytest.fixture(scope="module")
def page(scenes, browser):
    """A page of 5,000 images."""
    path = scenes.page()
    text, data = path.read_text(), data_of(path)
    start = text.index('id="data">') + len('id="data">')
    data["gallery"] = many(data["gallery"], TIMES)
    path.write_text(text[:start] + json.dumps(data) + text[text.index("</script>", start) :])
    return path


@pytest.fixture
def opened(page, browser):
    browser.open(page)
    browser.until(DRAWN)
    yield browser
    assert browser.errors() == []
    assert browser.requests() == [page.as_uri()]


def after(browser, action, *arguments):
    """Processor time until all pictures are drawn after an action."""
    browser.run(FORGET)
    action(*arguments)
    return browser.until(DRAWN)


def test_paging_and_every_choice_take_less_than_a_second(opened):
    assert opened.run(PLACE) == f"1–48 of {IMAGES}"
    assert after(opened, opened.click, "#next") < SECONDS
    assert after(opened, opened.press, "right") < SECONDS
    assert opened.run(PLACE) == f"97–144 of {IMAGES}"
    assert after(opened, opened.press, "left") < SECONDS
    assert opened.run(PLACE) == f"49–96 of {IMAGES}"
    for control, values, count in CHOICES:
        for value in values:
            assert after(opened, opened.run, SET, control, value) < SECONDS, (control, value)
        assert opened.run(PLACE).endswith(f"of {count}"), control


def test_search_class_and_order_find_the_right_images(opened, scenes):
    # Where nothing is found of an object, the mean IoU is least.
    assert int(opened.run(FIRST).split("/")[1].split("-")[0]) % 10 == 0
    opened.press("/")
    opened.run(FORGET)
    opened.press(*"00042-7")
    opened.until("return document.getElementById('place').textContent === '1–1 of 1'")
    assert opened.run(FIRST) == f"{scenes.ids[42]}-7"
    after(opened, opened.run, SET, "search", "")
    after(opened, opened.run, SET, "where", "truth")
    after(opened, opened.run, SET, "class", "2")
    assert opened.run(PLACE).endswith(f"of {TIMES * sum(scenes.label(number) == 2 for number in range(100))}")
    after(opened, opened.run, SET, "search", "no such image")
    assert opened.run(PLACE) == "no image fits"


def test_the_border_between_two_layers_moves(opened, scenes):
    after(opened, opened.run, SET, "search", "00017-3")
    opened.click(".card")
    opened.until(OPEN)
    assert opened.run("return location.hash") == "#image=train%2F00017-3"
    opened.run(SET, "left", "image")
    opened.run(SET, "right", "truth")
    opened.run(SET, "viewer-opacity", "100")
    inside = (scenes.truth(17)[12].nonzero()[0][0] + 4) / scenes.size[1]
    opened.run(SET, "slider", "0")
    colour = [*CLASSES.palette[scenes.label(17)].tolist(), 255]
    assert opened.run(COLOUR, inside) == colour
    opened.run(SET, "slider", "1000")
    assert opened.run(COLOUR, inside) != colour
    opened.drag("#stagebox", 0.9, 0.02)
    assert opened.run("return Number(document.getElementById('slider').value)") == pytest.approx(20, abs=10)
    assert opened.run(COLOUR, inside) == colour
    opened.press("escape")
    opened.until("return !document.getElementById('viewer').open")


def test_keys_walk_through_images_and_layers(opened, scenes):
    after(opened, opened.run, SET, "sort", "id")
    first = opened.run(FIRST)
    opened.click(".card")
    opened.until(OPEN)
    opened.press("right")
    opened.until(TITLE + " !== arguments[0]", first)
    opened.press("left")
    opened.until(TITLE + " === arguments[0]", first)
    opened.press("3", ".")
    assert opened.run("return document.getElementById('right').value") == "CAM"
    assert opened.run("return document.getElementById('slider').value") == "550"
    commands = opened.run("return document.querySelector('#facts details').textContent")
    assert f"pseudomask inspect {scenes.folder}/CAM/masks.h5 {first}" in commands
    opened.press("escape", "?")
    assert opened.run("return document.getElementById('help').open")


def test_numbers_of_classes_and_warnings(opened):
    opened.run(SET, "class-number", "coverage")
    table = "return [...document.querySelectorAll('#class-table tr')].map((row) => row.textContent)"
    rows = opened.run(table)
    assert len(rows) == 6
    assert rows[2].startswith("background100.0")
    opened.click("#class-table th:nth-child(2) button")
    assert sorted(opened.run(table)) == sorted(rows)
    after(opened, opened.click, "button[data-stage='pseudo-mask'][data-warning='empty']")
    assert opened.run(PLACE) == f"1–48 of {IMAGES // 10}"


def test_a_phone_shows_the_image_of_the_address_without_scrolling_sideways(page, phone):
    phone.open(page, "#image=val%2F00004-2")
    phone.until(OPEN)
    assert phone.run(TITLE) == "val/00004-2"
    for box in ("documentElement", "getElementById('viewer')"):
        element = f"document.{box}"
        assert phone.run(f"return {element}.scrollWidth <= window.innerWidth"), box
    assert phone.errors() == []
