import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import PseudomaskError
from pipeline.report.address import page_address


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stage in ("refine_crf/1", "report/2"):
        (tmp_path / "store" / stage).mkdir(parents=True)
    run = tmp_path / "results/mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("run: mine\n")
    (run / "pseudo_masks").symlink_to("../../store/refine_crf/1")
    (run / "report").symlink_to("../../store/report/2")
    (run / "report/index.html").touch()
    return tmp_path


@pytest.mark.parametrize("file", ["results/mine/pseudo_masks/masks.h5", "store/refine_crf/1/masks.h5"])
def test_the_page_is_found_through_the_run_and_through_the_store(world, file):
    page = (world / "results/mine/report/index.html").as_uri()
    assert page_address(Path(file), None) == page
    assert page_address(Path(file), "a/b c'é") == page + "#image=a%2Fb%20c%27%C3%A9"


def test_what_no_run_holds_and_what_is_not_drawn_is_said(world):
    with pytest.raises(PseudomaskError, match="no run in results points to"):
        page_address(Path("store/other/3/masks.h5"), None)
    (world / "store/report/2/index.html").unlink()
    with pytest.raises(PseudomaskError, match="run snakemake to draw it"):
        page_address(Path("results/mine/pseudo_masks/masks.h5"), None)


def test_the_command_hands_it_to_the_browser(world):
    script = world / "open.py"
    script.write_text(f"import json, sys; open({str(world / 'seen.json')!r}, 'w').write(json.dumps(sys.argv[1:]))")
    environment = {"BROWSER": f"{sys.executable} {script} %s", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pipeline.cli", "inspect", "results/mine/pseudo_masks/masks.h5", "cat 1", "--open"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (address,) = json.loads((world / "seen.json").read_text())
    assert address.endswith("/results/mine/report/index.html#image=cat%201")
    assert done.stdout.strip() == address
