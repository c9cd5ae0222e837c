"""A small run without networks: images, true masks, worse and better masks, activation maps, numbers."""

import json

import numpy as np
from PIL import Image

from pipeline.artifacts.job import Job
from pipeline.artifacts.layout import STAGE_FILES
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import ScoreWriter
from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Entry, EvaluateStage
from pipeline.config.report import ReportStage
from pipeline.config.runtime import RuntimeSettings
from pipeline.stages import evaluate, report

CLASSES = ClassTable(names=("background", "cat", "dog", "bird"))


class Scenes:
    """``count`` images with one square object each; every tenth mask is empty, every seventh has a dog too many."""

    def __init__(self, folder, count, size=(24, 32)):
        self.folder, self.count, self.size = folder, count, size
        self.ids = [f"{'train' if number % 4 else 'val'}/{number:05d}" for number in range(count)]
        self._images()
        self._masks("truth", self.truth)
        self._masks("CAM", lambda number: np.roll(self.truth(number), 4, 1))
        self._masks("pseudo-mask", self.refined)
        with ScoreWriter(folder / "scores.h5", CLASSES, "cam") as writer:
            for number, image_id in enumerate(self.ids):
                small = (self.truth(number)[::4, ::4] > 0).astype(np.float32)[None] * 0.95
                writer.add(image_id, small, np.array([self.label(number)]), self.size)

    def label(self, number):
        return 1 + number % 3

    def truth(self, number):
        mask = np.zeros(self.size, np.uint8)
        left = number % (self.size[1] // 2)
        mask[4:16, left : left + 12] = self.label(number)
        mask[0] = 255
        return mask

    def refined(self, number):
        mask = np.roll(self.truth(number), number % 3, 1)
        mask[mask == 255] = 0
        if number % 10 == 0:
            mask[:] = 0
        elif number % 7 == 0:
            mask[20:, :5] = 2
        return mask

    def _images(self):
        draw = np.random.default_rng(0)
        (self.folder / "photos").mkdir()
        records = []
        for number, image_id in enumerate(self.ids):
            path = f"photos/{number % 100}.jpg"
            if number < 100:
                picture = draw.integers(0, 255, (3, 4, 3)).astype(np.uint8)
                Image.fromarray(picture).resize(self.size[::-1]).save(self.folder / path)
            splits = (image_id.split("/")[0],)
            records.append(ImageRecord(image_id, path, splits, *self.size, (self.label(number),)))
        Manifest(CLASSES, tuple(records)).write(self.folder / "data/manifest.parquet")

    def _masks(self, name, mask):
        with MaskWriter(self.folder / name / "masks.h5", CLASSES, stage=name) as writer:
            for number, image_id in enumerate(self.ids):
                writer.add(image_id, mask(number))

    def job(self, name):
        return Job(name, "0" * 16, RuntimeSettings(data_root=self.folder, threads=2), self.folder)

    def masks(self):
        return {name: self.folder / name / "masks.h5" for name in ("CAM", "pseudo-mask")}

    def evaluated(self):
        entries = [Entry(name=name, split=split, crf=False) for split in ("train", "val") for name in self.masks()]
        settings = EvaluateStage(entries=tuple(entries), seed=3, supervision="tags")
        folder = self.folder / "evaluation"
        outputs = evaluate.Outputs(**{name: folder / file for name, file in STAGE_FILES["evaluate"].items()})
        inputs = evaluate.Inputs(self.folder / "data/manifest.parquet", self.folder / "truth/masks.h5", self.masks())
        evaluate.run(settings, inputs, outputs, self.job("evaluation"))
        return outputs.metrics

    def inputs(self, truth=True):
        (self.folder / "curves.csv").write_text("step,lr,loss,later\n1,0.1,2.0,\n2,0.1,1.0,0.5\n")
        more = {"metrics": self.evaluated(), "truth": self.folder / "truth/masks.h5"} if truth else {}
        curves = {"classifier": self.folder / "curves.csv"}
        manifest = self.folder / "data/manifest.parquet"
        return report.Inputs(manifest, self.masks(), curves, self.folder / "scores.h5", **more)

    def page(self, truth=True, **settings):
        """The page of the run."""
        target = self.folder / "results/tiny/report/index.html"
        outputs = report.Outputs(target, target.with_name("sheet.jpg"))
        chosen = ReportStage(title="tiny: cam, seed 3", run="tiny", **settings)
        report.run(chosen, self.inputs(truth), outputs, self.job("report"))
        return target


def many(gallery, times):
    """A gallery's document with every image ``times`` times, under ids of their own."""
    images = {name: column * times for name, column in gallery["images"].items()}
    images["id"] = [
        f"{image_id}-{number // len(gallery['images']['id'])}" for number, image_id in enumerate(images["id"])
    ]
    stores = {
        name: {fact: column * times for fact, column in store.items()} for name, store in gallery["stores"].items()
    }
    count = len(gallery["images"]["id"])
    blocks = [{**block, "first": block["first"] + count * n} for n in range(times) for block in gallery["blocks"]]
    return {**gallery, "images": images, "stores": stores, "blocks": blocks}


def data_of(page):
    """What the script of a page reads."""
    text = page.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])
