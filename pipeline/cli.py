"""The command ``pseudomask``. Heavy modules are imported inside the commands, so that ``--help`` is instant."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import PseudomaskError

app = typer.Typer(
    help="Cheap labels to pseudo-masks to a segmentation network. Runs are started with snakemake; these commands look "
    "at results, convert them, and run single steps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def stage(
    spec: Annotated[
        Path, typer.Argument(help="stage.json of the stage, such as results/RUN/train_classifier/stage.json")
    ],
    shard: Annotated[str | None, typer.Option(help="one part of a sharded stage: INDEX-of-COUNT")] = None,
    merge: Annotated[int | None, typer.Option(help="join so many finished shards into the stage's output")] = None,
) -> None:
    """Run one stage as Snakemake runs it."""
    from pipeline.stages.runner import run_stage

    run_stage(spec, shard, merge)


@app.command()
def schema(folder: Annotated[Path, typer.Argument(help="folder to write METHOD.schema.json files to")]) -> None:
    """Write the JSON schema of every method's configuration, for editors."""
    from pipeline.config.load import schema_files

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (folder / name).write_text(text)


def main() -> None:
    """Entry point: a user's mistake is one line, anything else a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        app()
    except PseudomaskError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
