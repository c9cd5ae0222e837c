"""The environments of `--sdm conda`: what they hold, and that stages run in them with the project from its tree."""

import os
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT, Workflow

from pipeline.artifacts.code import imported_packages
from pipeline.artifacts.layout import STAGE_FILES

KINDS = {
    "train": {"train", "infer_cams", "infer_scores", "refine_par", "walk_irn"},
    "crf": {"refine_crf", "label_irn"},
    "proposals": {"propose_grabcut", "propose_groups", "propose_mcg"},
    "report": {"report"},
}
KINDS["data"] = STAGE_FILES.keys() - set().union(*KINDS.values())
# Names of imports that are not the names of packages.
PACKAGES = {
    "cv2": "opencv-python-headless",
    "lightning_fabric": "lightning-fabric",
    "PIL": "pillow",
    "pydensecrf": "pydensecrf2",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def environment(name):
    """Requirements of pip and of conda in one environment."""
    *conda, pip = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
    return pip["pip"], conda


@pytest.mark.parametrize("name", KINDS)
def test_environments_hold_what_their_stages_import_in_the_versions_of_the_project(name):
    pip, conda = environment(name)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(pip) <= set(project["dependencies"])
    assert f"python {project['requires-python']}" in conda
    modules = [f"pipeline.stages.{kind}" for kind in ("runner", *KINDS[name])]
    if name == "train":
        modules += [f"pipeline.methods.{path.stem}" for path in (ROOT / "pipeline/methods").glob("*.py")]
    # A stage touches torch by itself only where there is a GPU; the runner looks whether someone has imported it.
    needed = {PACKAGES.get(each, each) for each in imported_packages(*modules)} - {"torch"} | {"typer", "rich"}
    assert needed <= {each.partition(">=")[0] for each in pip}
    assert ("torch" in " ".join(pip)) == (name in {"train", "crf"})


def test_rules_name_every_environment():
    rules = (ROOT / "workflow/rules/stages.smk").read_text()
    for name in KINDS:
        assert f'"../../envs/{name}.yaml"' in rules


CONDA = """#!/usr/bin/env bash
case "$1 $2" in
  "info --json") echo '{{"conda_prefix": "{place}", "platform": "linux-64"}}' ;;
  "--version "*) echo "conda 24.9.0" ;;
  "config --get") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create")
    prefix=${{!#}}; prefix=${{prefix#--prefix=}}
    {python} -m venv --without-pip "$prefix"
    cp {place}/packages.pth {place}/sitecustomize.py "$prefix"/lib/python*/site-packages/ ;;
  "clean -y") ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def conda(tmp_path, monkeypatch):
    """A stand-in for conda that makes environments with this one's packages, but without the project."""
    place = tmp_path / "conda"
    (place / "bin").mkdir(parents=True)
    (place / "bin/conda").write_text(CONDA.format(place=place, python=sys.executable))
    (place / "bin/conda").chmod(0o755)
    (place / "bin/activate").write_text('export PATH="$1/bin:$PATH" CONDA_PREFIX="$1"\n')
    folders = [path for path in sys.path if path.endswith("site-packages")]
    # Folders named in a .pth file have no .pth files read: so an editable install of the project does not count.
    (place / "packages.pth").write_text("\n".join(folders))
    (place / "sitecustomize.py").write_text(
        "import os, sys\nopen(os.path.join(sys.prefix, 'used'), 'a').write(repr(sys.argv) + os.linesep)\n"
    )
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    return place


def test_a_stage_runs_in_the_environment_of_its_rule_with_the_project_of_the_tree(conda, tmp_path):
    workflow = Workflow(tmp_path / "work")
    workflow.folder.mkdir()
    workflow.run("--sdm", "conda", "--until", "data_import")
    (used,) = (workflow.folder / ".snakemake/conda").glob("*/used")
    assert used.read_text().count("stage.json") == 2  # scenes and their import share an environment
    assert used.parent.with_name(f"{used.parent.name}.yaml").read_text() == (ROOT / "envs/data.yaml").read_text()
    assert (workflow.folder / "results/tiny/data/manifest.parquet").exists()
