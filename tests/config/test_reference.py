import re
import subprocess
import sys
from pathlib import Path

import yaml

from pipeline.config.load import known_methods, method_config
from pipeline.config.reference import reference

ROOT = Path(__file__).parents[2]


def test_every_method_and_key_is_listed_and_every_link_leads_somewhere():
    page = reference()
    for method in known_methods():
        assert f"## Method `{method}`" in page
        for key in method_config(method).model_fields:
            assert f"| `{key}` |" in page
    anchors = {line.removeprefix("### ").lower() for line in page.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\(#(\w+)\)", page)) <= anchors
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(re.sub(r"\\\|", "", row).count("|") == 5 for row in rows)


def test_the_documentation_builds_without_a_dead_link_and_fetches_nothing(tmp_path):
    docs = tmp_path / "docs"
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    docs.symlink_to(ROOT / "docs")
    if not (ROOT / "docs/reference").exists():  # pages `make docs` generates
        config["nav"] = [entry for entry in config["nav"] if "reference/" not in str(entry)]
        config["validation"] = {"links": {"not_found": "info"}}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").glob("*.html"):
        fetched = re.findall(r'(?:src|<link[^>]* href)="(https?://[^"]+)"', page.read_text())
        assert fetched == [], page.name
