"""The pages of a real run in headless Chromium: our own, and Snakemake's report with the same parts."""

import zipfile

DRAWN = "return document.getElementById('place').textContent !== ''"


def test_the_page_of_a_run_works_from_disk(finished, browser):
    page = (finished.folder / "results/tiny/report/index.html").resolve()
    browser.open(page)
    browser.until(DRAWN)
    assert browser.run("return document.getElementById('place').textContent") == "1–32 of 32"
    assert browser.run("return [...document.querySelectorAll('#stages a')].length") > 10
    assert browser.run("return [...document.querySelectorAll('#curves svg')].length") == 3
    browser.click(".card")
    browser.until("return document.getElementById('viewer').open")
    links = "return [...document.querySelectorAll('#facts a')].map((link) => link.href)"
    assert browser.run(links)
    assert all(link.startswith("file:") for link in browser.run(links))
    assert browser.errors() == []
    assert browser.requests() == [page.as_uri()]


def test_snakemakes_report_holds_pictures_numbers_and_curves(finished, tmp_path, request):
    finished.run("--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        archive.extractall(tmp_path)
    names = {path.name for path in (tmp_path / "report/data").rglob("*") if path.is_file()}
    assert names >= {"index.html", "sheet.jpg", "table.md", "metrics.csv", "curves.csv"}
    browser = request.getfixturevalue("browser")
    browser.open(tmp_path / "report/report.html")
    text = "return document.body.textContent"
    browser.until(f"{text}.includes('Pictures')")
    assert all(browser.run(f"{text}.includes(arguments[0])", word) for word in ("Numbers", "Training"))
    assert [error for error in browser.errors() if "tailwind" not in error] == []  # Snakemake's page warns of itself
    assert all(address.startswith("file:") for address in browser.requests())
