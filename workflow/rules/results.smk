"""Where every method ends: its networks are applied to `predict.split`; masks, measured and shown.

A method sets before including this file:

- `networks`: trained networks by the name of their row, such as {"segmenter": stage}
- `masks`: mask stores made before, by the name of their row
- `rows`: what is measured of them: (name, split, crf, looks), `looks` being the scales and mirroring behind them
- `shown`: further inputs of the report: `scores`, `curves`, `threshold`
"""

from pipeline.config.evaluation import Entry, EvaluateStage
from pipeline.config.report import ReportStage

predictions, prediction_masks, prediction_crfs = [], [], []
for name, network in networks.items():
    predictions.append(
        stage(
            f"predict_{name}",
            "infer_scores",
            cfg.predict,
            {"manifest": manifest, "weights": network["weights"]},
        )
    )
    predicted = {"manifest": manifest, "scores": predictions[-1]["scores"]}
    prediction_masks.append(
        stage(f"label_{name}", "label_scores", LabelSettings(), predicted)
    )
    masks[name] = prediction_masks[-1]["masks"]
    rows.append((name, cfg.predict.split, False, cfg.predict.multi_scale))
    if cfg.predict_crf is not None:
        prediction_crfs.append(
            stage(f"crf_{name}", "refine_crf", cfg.predict_crf, predicted)
        )
        masks[f"{name} + CRF"] = prediction_crfs[-1]["masks"]
        rows.append((f"{name} + CRF", cfg.predict.split, True, cfg.predict.multi_scale))

shown |= {"manifest": manifest, "masks": masks}
if cfg.evaluation is not None:
    entries = [
        Entry(name=name, split=split, crf=crf, **looks.model_dump())
        for name, split, crf, looks in rows
    ]
    evaluation = stage(
        "evaluation",
        "evaluate",
        EvaluateStage(
            **cfg.evaluation.model_dump(),
            entries=entries,
            seed=cfg.seed,
            supervision=cfg.supervision,
        ),
        {"manifest": manifest, "truth": truth["masks"], "masks": masks},
    )
    shown |= {"metrics": evaluation["metrics"], "truth": truth["masks"]}
report_page = stage(
    "report",
    "report",
    ReportStage(
        **cfg.report.model_dump(), title=f"{cfg.run}: {cfg.method}, seed {cfg.seed}"
    ),
    shown,
)


use rule infer_scores as predict with:
    input:
        inputs_by_key(predictions),
    output:
        temp("store/infer_scores/{key}/shards/{shard}.h5"),
    log:
        "store/infer_scores/{key}/shards/{shard}.log",
    wildcard_constraints:
        key=any_key(predictions),
    params:
        spec="store/infer_scores/{key}/stage.json",


use rule label_scores as label_predictions with:
    input:
        inputs_by_key(prediction_masks),
    output:
        masks="store/label_scores/{key}/masks.h5",
        provenance="store/label_scores/{key}/provenance.json",
    log:
        "store/label_scores/{key}/log.txt",
    wildcard_constraints:
        key=any_key(prediction_masks),
    params:
        spec="store/label_scores/{key}/stage.json",


if prediction_crfs:

    use rule refine_crf as predict_crf with:
        input:
            inputs_by_key(prediction_crfs),
        output:
            temp("store/refine_crf/{key}/shards/{shard}.h5"),
        log:
            "store/refine_crf/{key}/shards/{shard}.log",
        wildcard_constraints:
            key=any_key(prediction_crfs),
        params:
            spec="store/refine_crf/{key}/stage.json",


if cfg.evaluation is not None:

    use rule evaluate as evaluation_table with:
        input:
            ancient(evaluation.input_files),
        output:
            **stage_outputs(evaluation),
        log:
            evaluation.log,
        params:
            spec=evaluation.spec,


use rule report_run as report_the_run with:
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
