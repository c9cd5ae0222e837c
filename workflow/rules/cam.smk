"""Method `cam`: tags -> classifier -> activation maps -> PAR -> dense CRF -> segmenter.

The baseline of the field (PSA and IRN without their refinement networks).
"""

from pipeline.config.evaluation import Entry, EvaluateStage
from pipeline.config.report import ReportStage


include: "data.smk"


manifest = data["manifest"]

classifier = stage(
    "train_classifier",
    "train",
    train_settings("classifier", cfg.classifier, cfg.cams.split),
    {"manifest": manifest},
    modules=["pipeline.methods.classifier"],
    **weight_sources(cfg.classifier),
)
cams = stage(
    "infer_cams",
    "infer_cams",
    cfg.cams,
    {"manifest": manifest, "weights": classifier["weights"]},
)
maps = {"manifest": manifest, "scores": cams["scores"]}
if cfg.threshold is not None:
    threshold = stage(
        "search_threshold",
        "search_threshold",
        cfg.threshold,
        {**maps, "truth": truth["masks"]},
    )
    maps["threshold"] = threshold["threshold"]
cam_masks = stage("label_cams", "label_scores", cfg.labels, maps)
if cfg.refine.par is not None:
    par = stage("refine_par", "refine_par", cfg.refine.par, maps)
    maps = {"manifest": manifest, "scores": par["scores"]}
pseudo_masks = stage("refine_crf", "refine_crf", cfg.refine.crf, maps)
segmenter = stage(
    "train_segmenter",
    "train",
    train_settings("segmenter", cfg.segmenter, cfg.cams.split),
    {"manifest": manifest, "masks": pseudo_masks["masks"]},
    modules=["pipeline.methods.segmenter"],
    **weight_sources(cfg.segmenter),
)
prediction = stage(
    "predict",
    "infer_scores",
    cfg.predict,
    {"manifest": manifest, "weights": segmenter["weights"]},
)
predicted = {"manifest": manifest, "scores": prediction["scores"]}
prediction_masks = stage("label_predictions", "label_scores", cfg.labels, predicted)
prediction_crf = stage("predict_crf", "refine_crf", cfg.predict_crf, predicted)

masks = {
    "CAM": cam_masks["masks"],
    "pseudo-mask": pseudo_masks["masks"],
    "segmenter": prediction_masks["masks"],
    "segmenter + CRF": prediction_crf["masks"],
}
shown = {
    "manifest": manifest,
    "scores": cams["scores"],
    "masks": masks,
    "curves": {"classifier": classifier["curves"], "segmenter": segmenter["curves"]},
}
if cfg.evaluation is not None:
    entries = [
        Entry(name=name, split=split, crf=crf, **looks.model_dump())
        for name, split, crf, looks in (
            ("CAM", cfg.threshold.split, False, cfg.cams.multi_scale),
            ("pseudo-mask", cfg.threshold.split, True, cfg.cams.multi_scale),
            ("segmenter", cfg.predict.split, False, cfg.predict.multi_scale),
            ("segmenter + CRF", cfg.predict.split, True, cfg.predict.multi_scale),
        )
    ]
    evaluation = stage(
        "evaluation",
        "evaluate",
        EvaluateStage(**cfg.evaluation.model_dump(), entries=entries, seed=cfg.seed),
        {"manifest": manifest, "truth": truth["masks"], "masks": masks},
    )
    shown |= {
        "metrics": evaluation["metrics"],
        "truth": truth["masks"],
        "threshold": threshold["threshold"],
    }
report_page = stage(
    "report",
    "report",
    ReportStage(
        **cfg.report.model_dump(), title=f"{cfg.run}: {cfg.method}, seed {cfg.seed}"
    ),
    shown,
)


use rule train as cam_train_classifier with:
    input:
        ancient(classifier.input_files),
    output:
        **stage_outputs(classifier),
    log:
        classifier.log,
    params:
        spec=classifier.spec,


use rule infer_cams as cam_infer_cams with:
    input:
        ancient(cams.input_files),
    output:
        temp(cams.shard_pattern),
    log:
        f"{cams.folder}/shards/{{shard}}.log",
    params:
        spec=cams.spec,


if cfg.threshold is not None:

    use rule search_threshold as cam_search_threshold with:
        input:
            ancient(threshold.input_files),
        output:
            **stage_outputs(threshold),
        log:
            threshold.log,
        params:
            spec=threshold.spec,


use rule label_scores as cam_label_cams with:
    input:
        ancient(cam_masks.input_files),
    output:
        **stage_outputs(cam_masks),
    log:
        cam_masks.log,
    params:
        spec=cam_masks.spec,


if cfg.refine.par is not None:

    use rule refine_par as cam_refine_par with:
        input:
            ancient(par.input_files),
        output:
            temp(par.shard_pattern),
        log:
            f"{par.folder}/shards/{{shard}}.log",
        params:
            spec=par.spec,


use rule refine_crf as cam_refine_crf with:
    input:
        ancient(pseudo_masks.input_files),
    output:
        temp(pseudo_masks.shard_pattern),
    log:
        f"{pseudo_masks.folder}/shards/{{shard}}.log",
    params:
        spec=pseudo_masks.spec,


use rule train as cam_train_segmenter with:
    input:
        ancient(segmenter.input_files),
    output:
        **stage_outputs(segmenter),
    log:
        segmenter.log,
    params:
        spec=segmenter.spec,


use rule infer_scores as cam_predict with:
    input:
        ancient(prediction.input_files),
    output:
        temp(prediction.shard_pattern),
    log:
        f"{prediction.folder}/shards/{{shard}}.log",
    params:
        spec=prediction.spec,


use rule label_scores as cam_label_predictions with:
    input:
        ancient(prediction_masks.input_files),
    output:
        **stage_outputs(prediction_masks),
    log:
        prediction_masks.log,
    params:
        spec=prediction_masks.spec,


use rule refine_crf as cam_predict_crf with:
    input:
        ancient(prediction_crf.input_files),
    output:
        temp(prediction_crf.shard_pattern),
    log:
        f"{prediction_crf.folder}/shards/{{shard}}.log",
    params:
        spec=prediction_crf.spec,


if cfg.evaluation is not None:

    use rule evaluate as cam_evaluation with:
        input:
            ancient(evaluation.input_files),
        output:
            **stage_outputs(evaluation),
        log:
            evaluation.log,
        params:
            spec=evaluation.spec,


use rule report_run as cam_report with:
    input:
        ancient(report_page.input_files),
    output:
        **stage_outputs(
            report_page,
            page=report(
                report_page["page"].path, caption="../report/page.rst", category="Run"
            ),
            sheet=report(
                report_page["sheet"].path,
                caption="../report/sheet.rst",
                category="Run",
            ),
        ),
    log:
        report_page.log,
    params:
        spec=report_page.spec,
