"""Method `seminar`: clicks or scribbles -> ancillary model -> heterogeneous labels -> chain of primary models."""

from pipeline.data.sparse import label_files


include: "data.smk"


if cfg.labels is not None and cfg.labels.source == "boxes":

    include: "boxes.smk"


models, label_stores = [], []
given = truth["masks"]
if cfg.labels is not None:
    origins = {
        "masks": lambda: {"truth": truth["masks"]},
        "boxes": lambda: {"boxes": boxes["boxes"]},
    }
    sparse = stage(
        "labels",
        "import_labels",
        cfg.labels,
        {"manifest": manifest, **origins.get(cfg.labels.source, dict)()},
        sources=build(label_files, cfg.labels, ROOT),
        source_root=ROOT,
    )
    given = sparse["masks"]


masks = {"labels": given} if cfg.labels is not None else {}
networks, rows, curves = {}, [], {}
scored, labelled = [], []
for number in range(cfg.modules + 1):
    # All but the first model learn from the one before.
    name = f"primary_{number}" if number else "ancillary"
    inputs = {"mask": given}
    if number and cfg.pseudo.mode == "offline":
        inputs["pseudo"] = label_stores[-1]
    models.append(
        stage(
            f"train_{name}",
            "train",
            train_settings(
                "seminar", cfg.settings_of(number), cfg.split, cfg.seed_of(number)
            ),
            {
                "manifest": manifest,
                "masks": inputs,
                "networks": ({"previous": models[-1]["weights"]} if number else {}),
            },
            modules=["pipeline.methods.seminar"],
            **weight_sources(cfg.model),
        )
    )
    networks[name] = models[-1]
    curves[f"{name} model"] = models[-1]["curves"]
    if number == cfg.modules:
        break
    row = f"labels of {name}"
    if number == 0 and cfg.given_masks is not None:
        label_stores.append(build(plan.given, ROOT / cfg.given_masks))
        row = "given masks"
    else:
        scored.append(
            stage(
                f"scores_{name}",
                "infer_scores",
                cfg.heterogeneous.model_copy(update={"split": cfg.split}),
                {"manifest": manifest, "weights": models[-1]["weights"]},
            )
        )
        labelled.append(
            stage(
                f"heterogeneous_{name}",
                "label_scores",
                LabelSettings(),
                {"manifest": manifest, "scores": scored[-1]["scores"]},
            )
        )
        label_stores.append(labelled[-1]["masks"])
    masks[row] = label_stores[-1]
    rows.append((row, cfg.split, False, cfg.heterogeneous.multi_scale))
shown = {"curves": curves}


include: "results.smk"


if cfg.labels is not None:

    use rule import_labels as seminar_labels with:
        wildcard_constraints:
            key=only(sparse),


use rule train as seminar_train_ancillary with:
    wildcard_constraints:
        key=only(models[0]),


if cfg.modules:

    use rule train as seminar_train_primary with:
        wildcard_constraints:
            key=only(*models[1:]),


if labelled:

    use rule infer_scores as seminar_score with:
        wildcard_constraints:
            key=only(*scored),

    use rule label_scores as seminar_heterogeneous_labels with:
        wildcard_constraints:
            key=only(*labelled),
