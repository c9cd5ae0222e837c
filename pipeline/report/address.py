"""Where the report page of a run or of one of its results lies."""

from pathlib import Path
from urllib.parse import quote

from pipeline.artifacts.store import Run, find_runs
from pipeline.errors import PseudomaskError
from pipeline.report.state import draw_state

_PAGE = "report/index.html"


def page_address(file: Path, image_id: str | None, results: Path = Path("results")) -> str:
    """Address of the page of the run a file belongs to, with an image id opened at that image.

    A run that is not finished has no page yet; for its folder, a page with the state of its stages is drawn.

    Args:
        file: folder of a run, or a file of a stage, named through ``results/<run>/<stage>`` or through the store.
        image_id: image to open, or None.
        results: folder of runs to search where the file is named through the store.

    Raises:
        PseudomaskError: no run holds the stage, or its page has not been drawn yet.
    """
    if (file / "config.yaml").exists():
        page = file.absolute() / _PAGE
        return _address(page if page.exists() else draw_state(Run(file.absolute())), image_id)
    stage = file.absolute().parent
    run = stage.parent
    if not (run / "config.yaml").exists():
        runs = [found.path for found in find_runs(results) if _holds(found, stage.resolve())]
        if not runs:
            raise PseudomaskError(
                f"no run in {results} points to {stage}; name the file as results/RUN/STAGE/{file.name}"
            )
        run = runs[0].absolute()
    page = run / _PAGE
    if not page.exists():
        raise PseudomaskError(f"{page} does not exist; run snakemake to draw it")
    return _address(page, image_id)


def _address(page: Path, image_id: str | None) -> str:
    return page.as_uri() + ("" if image_id is None else f"#image={quote(image_id, safe='')}")


def _holds(run: Run, folder: Path) -> bool:
    return any(stage.path == folder for stage in run.stages.values())
