"""The command ``pseudomask``. Heavy modules are imported inside the commands, so that ``--help`` is instant."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import PseudomaskError

if TYPE_CHECKING:
    from pipeline.config.run import RunConfig

app = typer.Typer(
    help="Cheap labels to pseudo-masks to a segmentation network. Runs are started with snakemake; these commands look "
    "at results, convert them, and run single steps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
imports = typer.Typer(help="Bring data in: check a data set and write its config, or read corrected masks.")
app.add_typer(imports, name="import", no_args_is_help=True)
weights_app = typer.Typer(help="Initial weights: which public files presets want, and how they become ours.")
app.add_typer(weights_app, name="weights", no_args_is_help=True)


class Format(StrEnum):
    """What masks and networks can be exported to."""

    png = "png"
    coco = "coco"
    voc = "voc"
    h5 = "h5"
    onnx = "onnx"
    pt2 = "pt2"
    card = "card"


@app.command()
def stage(
    spec: Annotated[
        Path, typer.Argument(help="stage.json of a stage, such as results/RUN/train_classifier/stage.json")
    ],
    shard: Annotated[str | None, typer.Option(help="one part of a sharded stage: INDEX-of-COUNT")] = None,
    merge: Annotated[int | None, typer.Option(help="join so many finished shards into the stage's output")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs to keep other jobs away from, where there are any", min=0)] = 0,
) -> None:
    """Run one stage as Snakemake runs it."""
    from pipeline.stages.runner import run_stage

    run_stage(spec, shard, merge, gpus)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="mask store, score store, manifest, weights, or the folder of a run")],
    image_id: Annotated[str | None, typer.Argument(help="an image of a mask or score store, to see it")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="open the page of the run, at that image")] = False,
) -> None:
    """Say what a file holds or how far a run is; with an image id, show its mask or activation in the terminal."""
    if open_page:
        import webbrowser

        from pipeline.report.address import page_address

        address = page_address(file, image_id)
        typer.echo(address)
        webbrowser.open(address)
        return
    from rich.console import Console
    from rich.table import Table

    from pipeline.report.terminal import facts, look, picture

    console = Console()
    if image_id is None:
        found = list(facts(file))
    else:
        drawn, found = look(file, image_id)
        console.print(picture(drawn, min(console.width, 100)))
    table = Table(show_header=False, box=None)
    for name, value in found:
        table.add_row(name, value)
    console.print(table)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="mask store; for onnx, pt2 and card the weights of a network")],
    target: Annotated[Path, typer.Argument(help="folder for png, file for the others")],
    to: Annotated[
        Format,
        typer.Option(
            help="png: palette PNGs; coco: JSON with RLE; voc: archive for VOC's test server; h5: a mask store; "
            "onnx, pt2: the network; card: what to know about it, Markdown"
        ),
    ] = Format.png,
    branch: Annotated[
        int | None, typer.Option(help="for onnx and pt2: which network of a file with several, from 0")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="for png and h5: an image id, may be given several times; default: all")
    ] = None,
) -> None:
    """Write masks, or a trained network, in another format."""
    if only and to not in (Format.png, Format.h5):
        raise PseudomaskError(f"--only picks images for png and h5; leave it out with --to {to.value}")
    if to is Format.card:
        from pipeline.artifacts.files import write_text
        from pipeline.report.card import model_card

        write_text(target, model_card(source))
        typer.echo(f"{target}: read it before you share the network")
        return
    if to in (Format.onnx, Format.pt2):
        from pipeline.nets.deploy import to_onnx, to_pt2

        classes = (to_onnx if to is Format.onnx else to_pt2)(source, target, branch)
        typer.echo(f"{target}: RGB 0..255 in, probabilities of {', '.join(classes.names)} out")
        return
    from pipeline.artifacts.export import to_coco, to_h5, to_png, to_voc
    from pipeline.artifacts.masks import MaskStore

    store = MaskStore(source)
    if to is Format.coco:
        typer.echo(f"{to_coco(store, target)} annotations of {len(store)} images in {target}")
    elif to is Format.voc:
        typer.echo(f"{to_voc(store, target)} masks in {target}")
    else:
        count = (to_png if to is Format.png else to_h5)(store, target, only or store.ids)
        typer.echo(f"{count} masks in {target}")


@imports.command()
def masks(
    folder: Annotated[Path, typer.Argument(help="folder of palette or 8-bit grey PNGs named by image id")],
    target: Annotated[Path, typer.Argument(help="mask store to write")],
    like: Annotated[Path, typer.Option(help="mask store with the same classes")],
    rest: Annotated[
        bool, typer.Option("--rest", help="take masks of images without a PNG from the store of --like")
    ] = False,
) -> None:
    """Read masks, for instance corrected by hand, into a mask store."""
    from pipeline.artifacts.export import from_png
    from pipeline.artifacts.masks import MaskStore

    store = MaskStore(like)
    count = from_png(folder, target, store.classes, store if rest else None)
    typer.echo(f"{count} masks from {folder} in {target}" + (f", the rest from {like}" if rest else ""))


@imports.command()
def check(
    config: Annotated[Path, typer.Argument(help="YAML with a section `data`, such as configs/datasets/voc-mini.yaml")],
) -> None:
    """Read a data set as a run would, count what is there, and set published counts beside it."""
    from pipeline.config.load import load_data, read_yaml
    from pipeline.config.runtime import RuntimeSettings
    from pipeline.data.checking import check_lines
    from pipeline.data.images import data_root
    from pipeline.data.importing import import_manifest

    beside = config.with_name("published.yaml")
    published = read_yaml(beside).get(config.stem, {}) if beside.is_file() else {}
    manifest, problems = import_manifest(load_data(read_yaml(config)), data_root(RuntimeSettings()))
    for line in check_lines(manifest, published):
        typer.echo(line)
    for problem in problems:
        typer.echo(f"set aside: {problem.image_id}: {problem.reason}")


@imports.command("sbd")
def import_sbd(
    sbd: Annotated[Path, typer.Argument(help="SBD: folder with cls/*.mat, train.txt and val.txt")],
    voc: Annotated[Path, typer.Argument(help="VOC 2012: folder with SegmentationClass and ImageSets")],
) -> None:
    """Write masks and list of VOC's 10,582 training images (trainaug), as configs/datasets/voc.yaml expects them."""
    from pipeline.data.sbd import MASKS, write_trainaug

    images, from_sbd = write_trainaug(sbd, voc)
    typer.echo(f"trainaug: {images} images (published: 10582), {from_sbd} of them with masks of SBD, in {voc / MASKS}")


@imports.command("csv")
def import_csv(
    images: Annotated[Path, typer.Option(help="folder of images")],
    table: Annotated[
        Path, typer.Option(help="CSV with columns id,tags (names joined by ;) or id and a 0/1 column each")
    ],
    name: Annotated[str, typer.Option(help="name of the data set; configs/datasets/NAME.yaml is written")],
    val: Annotated[float, typer.Option(help="share of images kept for validation", min=0, max=0.9)] = 0.2,
) -> None:
    """Set up your own images with a table of tags."""
    from pipeline.data.set_up import set_up_csv

    typer.echo(set_up_csv(images, table, name, val))


@imports.command("voc")
def import_voc(
    folder: Annotated[Path, typer.Argument(help="folder with JPEGImages/, ImageSets/ and Annotations/ or masks")],
    name: Annotated[str, typer.Option(help="name of the data set; configs/datasets/NAME.yaml is written")],
    classes: Annotated[
        str | None, typer.Option(help="names joined by commas, in mask order; default: VOC's 20")
    ] = None,
) -> None:
    """Set up a data set in the layout of PASCAL VOC."""
    from pipeline.data.set_up import VOC_CLASSES, set_up_voc

    typer.echo(set_up_voc(folder, name, classes.split(",") if classes else VOC_CLASSES))


@imports.command("coco")
def import_coco(
    images: Annotated[Path, typer.Option(help="folder of images")],
    train: Annotated[Path, typer.Option(help="instances JSON to train on")],
    val: Annotated[Path, typer.Option(help="instances JSON to measure on")],
    name: Annotated[str, typer.Option(help="name of the data set; configs/datasets/NAME.yaml is written")],
) -> None:
    """Set up a data set with COCO's instances files."""
    from pipeline.data.set_up import set_up_coco

    typer.echo(set_up_coco(images, train, val, name))


@imports.command("cocostuff")
def import_cocostuff(
    folder: Annotated[Path, typer.Argument(help="folder with annotations/*.mat of COCO-Stuff 10K")],
) -> None:
    """Write masks of VOC's 20 classes for COCO-Stuff 10K, as configs/datasets/cocostuff.yaml expects them."""
    from pipeline.data.cocostuff import write_voc_masks

    typer.echo(f"{write_voc_masks(folder)} masks in {folder / 'masks-voc'}")


@weights_app.command("import")
def import_weights(
    file: Annotated[
        Path, typer.Argument(help="public file: torch state dict, safetensors, MXNet .params", exists=True)
    ],
    name: Annotated[str, typer.Option("--as", help="entry of `weights list`, or name of a backbone")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="safetensors to write; default: where presets look for it")
    ] = None,
    any_content: Annotated[bool, typer.Option("--any-content", help="do not compare the checksum")] = False,
) -> None:
    """Turn a public weights file into one of this project's: names, every shape and the checksum verified."""
    from pipeline.config.public_weights import FOLDER
    from pipeline.config.runtime import RuntimeSettings
    from pipeline.data.images import data_root
    from pipeline.nets.foreign import import_weights as convert

    target = out or data_root(RuntimeSettings()) / FOLDER / f"{name}.safetensors"
    card = convert(file, name, target, any_content)
    typer.echo(f"{target}: {card['tensors']} tensors, {card['parameters'] / 1e6:.1f} M parameters of {name}")
    typer.echo(f"{card['left_out']} tensors of {file.name} are no part of the backbone and were left out")


@weights_app.command("list")
def list_weights() -> None:
    """List the public files presets want: where they are from, their size and checksum, whether they are here."""
    from pipeline.config.public_weights import FOLDER, public_weights
    from pipeline.config.runtime import RuntimeSettings
    from pipeline.data.images import data_root

    folder = data_root(RuntimeSettings()) / FOLDER
    for name, entry in public_weights().items():
        path = folder / f"{name}.safetensors"
        size = "" if entry.mebibytes is None else f", {entry.mebibytes:.0f} MiB"
        digest = "" if entry.sha256 is None else f", SHA-256 {entry.sha256}..."
        typer.echo(f"{typer.style(name, bold=True)}  {'at' if path.is_file() else 'missing:'} {path}")
        typer.echo(f"  {entry.file}{size}{digest}\n  {entry.trained}\n  {entry.project}")
        if entry.otherwise:
            typer.echo(f"  or else: {entry.otherwise}")


@app.command()
def evaluate(
    predicted: Annotated[Path, typer.Argument(help="mask store to judge")],
    truth: Annotated[Path, typer.Argument(help="mask store with true masks")],
    boundary: Annotated[bool, typer.Option(help="also boundary IoU, which is slow")] = False,
) -> None:
    """Compare masks with the truth, on the images both stores hold."""
    from pipeline.artifacts.masks import MaskStore
    from pipeline.config.evaluation import Protocol
    from pipeline.evaluation.measure import measure

    ours, theirs = MaskStore(predicted), MaskStore(truth)
    ids = [image_id for image_id in ours.ids if image_id in theirs]
    if not ids:
        raise PseudomaskError(f"{predicted} and {truth} have no image in common")
    if ours.classes.names != theirs.classes.names:
        raise PseudomaskError(
            f"{predicted} has the classes {', '.join(ours.classes.names)}, {truth} {', '.join(theirs.classes.names)}; "
            "compare stores of the same classes"
        )
    found = measure(((theirs[i], ours[i]) for i in ids), theirs.classes, Protocol(boundary=boundary))
    columns = found.per_class()
    typer.echo("  ".join(["class".ljust(16), *(name.rjust(15) for name in columns)]))
    for index, label in enumerate(theirs.classes.names):
        cells = ["n/a" if values[index] is None else f"{100 * (values[index] or 0):.1f}" for values in columns.values()]
        typer.echo("  ".join([label.ljust(16), *(cell.rjust(15) for cell in cells)]))
    mean = found.mean_iou()
    typer.echo(f"{found.images} images, full size, mean IoU {'n/a' if mean is None else f'{100 * mean:.2f} %'}")


@app.command()
def crf(
    image: Annotated[Path, typer.Argument(help="image file")],
    scores: Annotated[Path, typer.Argument(help="score store that holds the image")],
    image_id: Annotated[str, typer.Argument(help="id of the image in the score store")],
    target: Annotated[Path, typer.Argument(help="palette PNG to write")],
    preset: Annotated[str, typer.Option(help="psa, irn, rrm, dupl, afa or deeplab")] = "psa",
    threshold: Annotated[float, typer.Option(help="background score, for activation maps", min=0, max=1)] = 0.3,
) -> None:
    """Refine the scores of one image by a dense CRF."""
    import numpy as np

    from pipeline.artifacts.export import palette_image
    from pipeline.artifacts.files import atomic_path
    from pipeline.artifacts.scores import ScoreStore
    from pipeline.config.background import BackgroundSettings
    from pipeline.config.crf import CrfSettings
    from pipeline.config.load import validated
    from pipeline.crf.dense import dense_crf
    from pipeline.data.images import read_image
    from pipeline.refine.background import normalise, with_background

    store = ScoreStore(scores)
    values, classes = with_background(store[image_id], BackgroundSettings(), threshold)
    settings = validated(CrfSettings, {"preset": preset})
    refined = dense_crf(read_image(image, image_id), normalise(values), settings)
    with atomic_path(target) as temporary:
        palette_image(classes.astype(np.uint8)[refined.argmax(0)], store.classes).save(temporary, format="PNG")


@app.command()
def predict(
    weights: Annotated[
        Path, typer.Argument(help="trained segmenter, such as results/RUN/train_segmenter/weights.safetensors")
    ],
    images: Annotated[list[Path], typer.Argument(help="image files, or folders of them")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for palette PNGs")] = Path("predictions"),
    scales: Annotated[str, typer.Option(help="sizes to look at, as factors joined by commas")] = "1",
    flip: Annotated[bool, typer.Option(help="also look at the mirror image")] = False,
    short_side: Annotated[
        int | None, typer.Option(help="pixels of the short side at scale 1; default: as it is")
    ] = None,
    branch: Annotated[str | None, typer.Option(help="of a file with several networks: number, mean or max")] = None,
    crf: Annotated[str | None, typer.Option(help="refine by a dense CRF: psa, irn, rrm, dupl, afa or deeplab")] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="also write the mask over the image")] = False,
) -> None:
    """Segment images of your own with a trained network."""
    from pipeline.config.crf import CrfSettings
    from pipeline.config.inference import InferenceSettings
    from pipeline.config.load import validated
    from pipeline.config.runtime import RuntimeSettings
    from pipeline.predict import find_images
    from pipeline.predict import predict as segment

    size = {} if short_side is None else {"resize": "short_side", "side": short_side}
    look = {"multi_scale": {"scales": scales.split(","), "flip": flip}, "branch": branch, **size}
    settings = validated(InferenceSettings, look)
    refinement = None if crf is None else validated(CrfSettings, {"preset": crf})
    found = find_images(images)
    for number, made in enumerate(segment(weights, found, out, settings, refinement, overlay, RuntimeSettings()), 1):
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in made.shares.items())
        typer.echo(f"{number}/{len(found)}  {made.image.name} -> {made.mask}  {shares}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="folders of runs, such as results/*")],
    page: Annotated[
        Path | None, typer.Option(help="also write it as a page, with the images on which runs disagree most")
    ] = None,
    images: Annotated[int, typer.Option(help="images of the page per difference", min=1)] = 24,
) -> None:
    """Put runs into one table, seeds joined, with how far each is from the first (95 % intervals) and what it took."""
    from pipeline.evaluation.compare import FinishedRun, differences, grouped, joined_rows
    from pipeline.evaluation.table import markdown
    from pipeline.report.comparison import cost_words

    # Tables and pages of earlier comparisons lie beside the runs.
    folders = [run for run in runs if not run.is_file()]
    if not folders:
        raise PseudomaskError(f"none of {', '.join(map(str, runs))} is a folder; name folders of runs")
    groups = grouped([FinishedRun.read(run) for run in folders])
    typer.echo(markdown([row for group in groups for row in joined_rows(group)]), nl=False)
    found = {group[0].folder.name: differences(groups[0], group, images if page else 5) for group in groups[1:]}
    for run, rows in found.items():
        typer.echo(f"\n{run} minus {groups[0][0].folder.name} (paired bootstrap over images):\n")
        if not rows:
            typer.echo("- no masks of the same name and images")
        for difference in rows:
            most = ", ".join(f"{image_id} {100 * value:+.0f}" for image_id, value in difference.disagree[:5])
            on = f"{difference.interval} on {difference.images} images"
            typer.echo(f"- {', '.join(difference.row)}: {on}; most on {most}")
    typer.echo("\nTime of all stages one after the other, mean of the seeds; the longest:\n")
    for group in groups:
        typer.echo(f"- {group[0].folder.name}: {cost_words(group)}")
    if page is not None:
        from pipeline.artifacts.files import write_text
        from pipeline.report.comparison import comparison_page

        write_text(page, comparison_page(groups, found, page.parent).html())
        typer.echo(f"\n{page}")


@app.command()
def runs(
    results: Annotated[Path, typer.Option(help="folder of runs")] = Path("results"),
    watch: Annotated[bool, typer.Option("--watch", help="look again every two seconds, until ctrl-c")] = False,
) -> None:
    """List the runs: stages done, size, age; and how far an unfinished one is."""
    import time

    from rich.console import Console
    from rich.live import Live

    from pipeline.report.runs import runs_table

    if not watch:
        Console().print(runs_table(results))
        return
    with Live(runs_table(results), auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(runs_table(results), refresh=True)


@app.command()
def gc(
    results: Annotated[Path, typer.Option(help="folder of runs")] = Path("results"),
    store: Annotated[Path, typer.Option(help="the store")] = Path("store"),
    older_than: Annotated[float, typer.Option(help="only what has not changed for so many days", min=0)] = 0.0,
    delete: Annotated[bool, typer.Option("--delete", help="really delete; without it nothing is touched")] = False,
) -> None:
    """List what no run points to any more, and delete it on request.

    Results of a changed setting stay in the store, so that changing it back costs nothing; this gives the space back.
    """
    from pipeline.artifacts.store import delete as remove
    from pipeline.artifacts.store import unreferenced
    from pipeline.report.runs import human_size

    found = unreferenced(store, results, older_than)
    for folder in found:
        typer.echo(f"{human_size(folder.size):>10}  {folder.path}{'' if folder.done else '  (unfinished)'}")
    total = f"{len(found)} results without a run, {human_size(sum(folder.size for folder in found))}"
    if delete:
        remove(found, Path())
        typer.echo(f"deleted {total}")
    else:
        typer.echo(f"{total}; nothing was touched, say --delete to remove them" if found else total)


@app.command()
def verify(
    runs: Annotated[list[Path] | None, typer.Argument(help="folders of runs; default: all in results")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="delete what is damaged, so that snakemake makes it again")
    ] = False,
) -> None:
    """Read every result of runs and compare it with the digest taken when it was written."""
    from pipeline.artifacts.store import Run, delete, find_runs

    for path in runs or []:
        if not (path / "config.yaml").exists():
            raise PseudomaskError(f"{path} is no run: it has no config.yaml; name folders such as results/demo-cam")
    found = [Run(path) for path in runs] if runs else find_runs(Path("results"))
    folders = {folder.path: folder for run in found for folder in run.stages.values() if folder.done}
    broken = {path: names for path, folder in folders.items() if (names := folder.damaged())}
    for path, names in broken.items():
        typer.echo(f"damaged: {', '.join(names)} in {path}")
    if remove:
        delete([folders[path] for path in broken], Path())
    typer.echo(f"{len(folders)} results, {len(broken)} damaged{' and removed' if remove and broken else ''}")
    if unknown := sum(not folder.digests for folder in folders.values()):
        typer.echo(f"{unknown} of them were made before digests were kept and cannot be judged")
    if broken and not remove:
        raise typer.Exit(1)


@app.command()
def schema(folder: Annotated[Path, typer.Argument(help="folder to write METHOD.schema.json files to")]) -> None:
    """Write the JSON schema of every method's configuration, for editors."""
    from pipeline.config.load import schema_files

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (folder / name).write_text(text)


@app.command()
def reference(file: Annotated[Path, typer.Argument(help="Markdown file to write")]) -> None:
    """Write a page with every setting: what it may be, its default, what it means."""
    from pipeline.config.reference import reference as page

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page())


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="configuration, such as configs/voc/ktse.yaml")],
    snakefile: Annotated[Path, typer.Option(help="the Snakefile")] = Path("Snakefile"),
    measure: Annotated[
        bool, typer.Option("--measure", help="try a few steps of every training for time and GPU memory")
    ] = False,
) -> None:
    """Say what a run would do and how much disk it may fill, stage by stage, before anything runs.

    --measure takes the last few steps of each training, when every loss has set in, from random weights on made-up
    images, on this machine, with the run's crop, batch and precision.
    """
    import tempfile

    from rich.console import Console
    from rich.table import Column, Table

    from pipeline.config.load import load_run, read_yaml
    from pipeline.report.planned import plan_lines, planned, planned_stages

    with tempfile.TemporaryDirectory() as folder:
        stages = planned_stages(config, snakefile, Path(folder) / "plan.json")
    raw, configs = read_yaml(config), snakefile.resolve().parent / "configs"
    costs = _tried(load_run(raw, configs), stages) if measure else None
    header, *rows = plan_lines(planned(raw, configs, stages), costs)
    table = Table(*(Column(name, no_wrap=name == "stage") for name in header), box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _tried(config: "RunConfig", stages: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Time and GPU memory of the trainings that are still to do, in words."""
    from pipeline.config.training import TrainStage
    from pipeline.report.planned import class_table, training_cost
    from pipeline.stages.trial import measure

    found = {}
    for stage in stages:
        if stage["kind"] == "train" and not stage["done"]:
            typer.echo(f"trying {stage['name']} ...", err=True)
            settings = TrainStage(**stage["settings"])
            cost = measure(settings, class_table(config), config.runtime)
            steps = settings.settings["training"]["steps"]
            failed = "out of memory, or killed", ""
            found[stage["name"]] = failed if cost is None else training_cost(cost.seconds, steps, cost.memory)
    return found


@app.command()
def presets(
    configs: Annotated[Path, typer.Option(help="folder of presets")] = Path("configs"),
    write: Annotated[Path | None, typer.Option(help="Markdown file to write; default: the terminal")] = None,
) -> None:
    """Every published row of the five papers, and the preset that stands for it."""
    from pipeline.artifacts.files import write_text
    from pipeline.report.presets import presets_page

    page = presets_page(configs)
    if write is None:
        typer.echo(page, nl=False)
    else:
        write_text(write, page)


@app.command()
def doctor() -> None:
    """Say what this machine has and lacks, and what to do about it."""
    from pipeline.doctor import examine

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    failed = False
    for finding in examine():
        failed |= finding.level == "fail"
        typer.echo(f"{typer.style(finding.level.ljust(5), colours[finding.level])} {finding.subject}: {finding.text}")
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: a user's mistake is one line, anything else a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    logging.getLogger("pipeline").setLevel(logging.INFO)  # others, such as ONNX's optimiser, say a line per node
    try:
        app()
    except PseudomaskError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
