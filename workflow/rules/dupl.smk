"""Method `dupl`: image tags -> two students that teach each other -> their maps and masks [-> better one -> segmenter]."""


include: "data.smk"


dupl = stage(
    "train",
    "train",
    train_settings("dupl", cfg.model, cfg.split),
    {"manifest": manifest},
    modules=["pipeline.methods.dupl"],
    **weight_sources(cfg.model),
)
NAMES = [f"student_{number + 1}" for number in range(cfg.students)]
networks = {name: (dupl, branch) for branch, name in enumerate(NAMES)}
masks, rows, thresholds, cam_stages, cam_labels = {}, [], [], [], []
for branch, name in enumerate(NAMES):
    cam_stages.append(
        stage(
            f"cams_{name}",
            "infer_cams",
            cfg.cams.model_copy(update={"split": cfg.split, "branch": branch}),
            {"manifest": manifest, "weights": dupl["weights"]},
        )
    )
    maps = {"manifest": manifest, "scores": cam_stages[-1]["scores"]}
    if cfg.threshold is not None:
        thresholds.append(threshold_search(f"threshold_{name}", maps))
        maps["threshold"] = thresholds[-1]["threshold"]
    cam_labels.append(stage(f"label_cams_{name}", "label_scores", cfg.labels, maps))
    masks[f"CAM {name}"] = cam_labels[-1]["masks"]
    if cfg.threshold is not None:
        rows.append((f"CAM {name}", cfg.threshold.split, False, cfg.cams.multi_scale))
shown = {
    "scores": cam_stages[0]["scores"],
    "curves": {"students": dupl["curves"]},
}
if thresholds:
    shown["threshold"] = thresholds[0]["threshold"]


use rule train as dupl_train with:
    wildcard_constraints:
        key=only(dupl),


use rule infer_cams as dupl_cams with:
    wildcard_constraints:
        key=only(*cam_stages),


if thresholds:

    use rule search_threshold as dupl_search_threshold with:
        wildcard_constraints:
            key=only(*thresholds),


use rule label_scores as dupl_label_cams with:
    wildcard_constraints:
        key=only(*cam_labels),


if cfg.final is not None:
    own_scores, own_masks, judged_scores, judged_masks = [], [], [], []
    choosing = cfg.choose_on is not None and cfg.students > 1
    for branch, name in enumerate(NAMES):
        own_scores.append(
            stage(
                f"scores_{name}",
                "infer_scores",
                cfg.final.masks.model_copy(
                    update={"split": cfg.split, "branch": branch}
                ),
                {"manifest": manifest, "weights": dupl["weights"]},
            )
        )
        own_masks.append(
            stage(
                f"masks_{name}",
                "label_scores",
                LabelSettings(),
                {"manifest": manifest, "scores": own_scores[-1]["scores"]},
            )
        )
        masks[f"pseudo-mask {name}"] = own_masks[-1]["masks"]
        if cfg.threshold is not None:
            rows.append(
                (
                    f"pseudo-mask {name}",
                    cfg.threshold.split,
                    False,
                    cfg.final.masks.multi_scale,
                )
            )
        if choosing:
            judged_scores.append(
                stage(
                    f"judge_{name}",
                    "infer_scores",
                    cfg.final.masks.model_copy(
                        update={"split": cfg.choose_on, "branch": branch}
                    ),
                    {"manifest": manifest, "weights": dupl["weights"]},
                )
            )
            judged_masks.append(
                stage(
                    f"judged_{name}",
                    "label_scores",
                    LabelSettings(),
                    {"manifest": manifest, "scores": judged_scores[-1]["scores"]},
                )
            )
    chosen = own_masks[0]
    if choosing:
        chosen = stage(
            "choice",
            "choose_masks",
            ChoiceSettings(split=cfg.choose_on),
            {
                "manifest": manifest,
                "truth": truth["masks"],
                "judged": {
                    name: added["masks"] for name, added in zip(NAMES, judged_masks)
                },
                "masks": {
                    name: added["masks"] for name, added in zip(NAMES, own_masks)
                },
            },
        )

        use rule choose_masks as dupl_choose_student with:
            wildcard_constraints:
                key=only(chosen),

    final = stage(
        "train_segmenter",
        "train",
        train_settings("segmenter", cfg.final.segmenter, cfg.split),
        {"manifest": manifest, "masks": {"mask": chosen["masks"]}},
        modules=["pipeline.methods.segmenter"],
        **weight_sources(cfg.final.segmenter),
    )
    networks["segmenter"] = final
    shown["curves"]["segmenter"] = final["curves"]

    use rule infer_scores as dupl_score with:
        wildcard_constraints:
            key=only(*(own_scores + judged_scores)),

    use rule label_scores as dupl_masks with:
        wildcard_constraints:
            key=only(*(own_masks + judged_masks)),

    use rule train as dupl_train_segmenter with:
        wildcard_constraints:
            key=only(final),


include: "results.smk"
