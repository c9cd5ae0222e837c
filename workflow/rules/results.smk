"""Where every method ends: its networks are applied to `predict.split`; masks, measured and shown.

A method sets before including this file:

- `networks`: trained networks by the name of their row, such as {"segmenter": stage}, or (stage, branch)
- `masks`: mask stores made before, by the name of their row
- `rows`: what is measured of them: (name, split, crf, looks), `looks` being the scales and mirroring behind them
- `shown`: further inputs of the report: `scores`, `curves`, `threshold`
"""

from pipeline.config.evaluation import Entry, EvaluateStage
from pipeline.config.report import ReportStage

predictions, prediction_masks, prediction_crfs = [], [], []
for name, trained in networks.items():
    network, branch = trained if isinstance(trained, tuple) else (trained, None)
    predictions.append(
        stage(
            f"predict_{name}",
            "infer_scores",
            cfg.predict.model_copy(update={"branch": branch}),
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
measured = bool(rows) and cfg.evaluation is not None
if measured:
    published = build(published_rows, config, CONFIGS)
    entries = [
        Entry(
            name=name,
            split=split,
            crf=crf,
            published={
                row.protocol: row.miou / 100
                for row in reversed(published)
                if name in row.masks and split == row.split
            },
            **looks.model_dump(),
        )
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
        **cfg.report.model_dump(),
        title=f"{cfg.run}: {cfg.method}, seed {cfg.seed}",
        run=cfg.run,
    ),
    shown,
)


if predictions:

    use rule infer_scores as predict with:
        wildcard_constraints:
            key=only(*predictions),

    use rule label_scores as label_predictions with:
        wildcard_constraints:
            key=only(*prediction_masks),


if prediction_crfs:

    use rule refine_crf as predict_crf with:
        wildcard_constraints:
            key=only(*prediction_crfs),


if measured:

    use rule evaluate as evaluation_table with:
        wildcard_constraints:
            key=only(evaluation),


use rule report_run as report_the_run with:
    wildcard_constraints:
        key=only(report_page),
