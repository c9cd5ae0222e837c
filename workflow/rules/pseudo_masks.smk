"""From a classifier to masks of the training images: activation maps, threshold, PAR or IRN, dense CRF.

A method sets `classifier`, the trained stage, before including this file. It then finds

- `learned`: the masks to learn from, pseudo-masks or given ones
- `pseudo_masks`: the stage that makes the masks; `maps`, `found`: what it read; `to_masks`: its settings
- `masks`, `rows`, `shown`: see results.smk
"""

cams = stage(
    "infer_cams",
    "infer_cams",
    cfg.cams,
    {"manifest": manifest, "weights": classifier["weights"]},
)
maps = {"manifest": manifest, "scores": cams["scores"]}
found, searches = {}, []
if cfg.threshold is not None:
    searches.append(threshold_search("search_threshold", maps))
    found = {"threshold": searches[-1]["threshold"]}
cam_masks = stage("label_cams", "label_scores", cfg.labels, {**maps, **found})
labelled = [cam_masks]
masks = {"CAM": cam_masks["masks"]}
to_masks = cfg.labels if cfg.refine.crf is None else cfg.refine.crf
if cfg.refine.par is not None:
    par = stage("refine_par", "refine_par", cfg.refine.par, {**maps, **found})
    maps, found = {"manifest": manifest, "scores": par["scores"]}, {}
if cfg.refine.irn is not None:
    irn = cfg.refine.irn
    irn_labels = stage("irn_labels", "label_irn", irn.labels, maps)
    irn_network = stage(
        "train_irn",
        "train",
        train_settings("irn", irn.model, cfg.cams.split),
        {
            "manifest": manifest,
            "masks": {"mask": irn_labels["masks"]},
            "networks": (
                {"classifier": classifier["weights"]}
                if irn.model.start == "classifier"
                else {}
            ),
        },
        modules=["pipeline.methods.irn"],
        **({} if irn.model.start == "classifier" else weight_sources(irn.model)),
    )
    walk = stage(
        "irn_walk",
        "walk_irn",
        irn.walk,
        {**maps, "weights": irn_network["weights"]},
    )
    maps, found = {"manifest": manifest, "scores": walk["scores"]}, {}
    if irn.threshold is None:
        searches.append(threshold_search("search_refined", maps))
        found = {"threshold": searches[-1]["threshold"]}
    else:
        to_masks = to_masks.model_copy(
            update={"background": to_masks.background.at(irn.threshold)}
        )
if cfg.refine.crf is None:
    pseudo_masks = stage("pseudo_masks", "label_scores", to_masks, {**maps, **found})
    labelled.append(pseudo_masks)
else:
    if cfg.refine.par is not None or cfg.refine.irn is not None:
        before = to_masks.background.model_copy(update={"offset": 0.0})
        before_crf = stage(
            "label_refined",
            "label_scores",
            LabelSettings(background=before),
            {**maps, **found},
        )
        labelled.append(before_crf)
        refined_name = "CAM + PAR" if cfg.refine.irn is None else "CAM + IRN"
        masks[refined_name] = before_crf["masks"]
    pseudo_masks = stage("pseudo_masks", "refine_crf", to_masks, {**maps, **found})

learned = masks["pseudo-mask"] = pseudo_masks["masks"]
if cfg.given_masks is not None:
    learned = masks["given masks"] = build(plan.given, ROOT / cfg.given_masks)
rows = []
shown = {"scores": cams["scores"], "curves": {"classifier": classifier["curves"]}}
if cfg.threshold is not None:
    shown["threshold"] = searches[0]["threshold"]
    rows = [
        (
            name,
            cfg.threshold.split,
            name == "pseudo-mask" and cfg.refine.crf is not None,
            cfg.cams.multi_scale,
        )
        for name in masks
    ]


use rule infer_cams as pseudo_infer_cams with:
    wildcard_constraints:
        key=only(cams),


if searches:

    use rule search_threshold as pseudo_search_threshold with:
        wildcard_constraints:
            key=only(*searches),


# One rule for all: stages with equal settings and inputs share a key, and only one rule may make a file.
use rule label_scores as pseudo_label with:
    wildcard_constraints:
        key=only(*labelled),


if cfg.refine.par is not None:

    use rule refine_par as pseudo_par with:
        wildcard_constraints:
            key=only(par),


if cfg.refine.irn is not None:

    use rule label_irn as pseudo_irn_labels with:
        wildcard_constraints:
            key=only(irn_labels),

    use rule train as pseudo_irn_train with:
        wildcard_constraints:
            key=only(irn_network),

    use rule walk_irn as pseudo_irn_walk with:
        wildcard_constraints:
            key=only(walk),


if cfg.refine.crf is not None:

    use rule refine_crf as pseudo_crf with:
        wildcard_constraints:
            key=only(pseudo_masks),
