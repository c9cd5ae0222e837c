"""Method `mdh`: boxes -> proposals -> AnnNet with box priors -> pseudo-masks, in rounds -> SegNet."""

from pipeline.config.join import JoinSettings
from pipeline.config.mdh import LabelledStage
from pipeline.config.proposals import (
    FusionStage,
    GrabCutStage,
    GroupingStage,
    McgStage,
)
from pipeline.proposals.files import proposal_files


include: "data.smk"
include: "boxes.smk"


boxed = {"manifest": manifest, "boxes": boxes["boxes"]}
labelled = stage(
    "labelled",
    "pick_labelled",
    LabelledStage(**cfg.labelled.model_dump(), among=cfg.split),
    {"manifest": manifest, "truth": truth["masks"]},
)

# Proposals: objects one by one, by every source, then images.
proposal_kinds = {
    "grabcut": ("propose_grabcut", GrabCutStage),
    "grouping": ("propose_groups", GroupingStage),
    "mcg": ("propose_mcg", McgStage),
}
objects = {}
for source in cfg.proposals.sources:
    kind, model = proposal_kinds[source]
    objects[source] = stage(
        f"objects_{source}",
        kind,
        model(split=cfg.split, **getattr(cfg.proposals, source).model_dump()),
        boxed,
        sources=build(proposal_files, cfg.proposals, source, cfg.data, ROOT),
        source_root=ROOT,
    )
masks, rows, assembled = {}, [], []
for name, sources in {
    **{source: [source] for source in objects if len(objects) > 1},
    "proposals": list(objects),
}.items():
    assembled.append(
        stage(
            f"masks_{name}",
            "fuse_proposals",
            FusionStage(split=cfg.split),
            {**boxed, "objects": {s: objects[s]["masks"] for s in sources}},
        )
    )
    masks[name] = assembled[-1]["masks"]
    rows.append((name, "weak", False, cfg.pseudo.inference.multi_scale))

# Rounds: AnnNet k learns from the pseudo-masks of round k - 1, the first from proposals. The manifest now says which
# images are labelled; proposals do not depend on that and are shared between subsets.
manifest = labelled["manifest"]
boxed["manifest"] = manifest
annnets, scored, pseudo_masks, segnets, curves = [], [], [], [], {}
networks = {}
pseudo_labels = LabelSettings(min_probability=cfg.pseudo.tau)
for number in range(1, cfg.rounds + 1):
    known = {
        "mask": labelled["masks"],
        "pseudo": (pseudo_masks[-1] if pseudo_masks else assembled[-1])["masks"],
    }
    annnets.append(
        stage(
            f"train_annnet_{number}",
            "train",
            train_settings("mdh", cfg.annnet, cfg.split),
            {**boxed, "masks": known},
            modules=["pipeline.methods.mdh"],
            **weight_sources(cfg.annnet),
        )
    )
    scored.append(
        stage(
            f"scores_annnet_{number}",
            "infer_scores",
            cfg.pseudo.inference.model_copy(update={"split": "weak"}),
            {**boxed, "weights": annnets[-1]["weights"]},
        )
    )
    pseudo_masks.append(
        stage(
            f"pseudo_masks_{number}",
            "label_scores",
            pseudo_labels,
            {"manifest": manifest, "scores": scored[-1]["scores"]},
        )
    )
    curves[f"AnnNet {number}"] = annnets[-1]["curves"]
    masks[f"pseudo-masks {number}"] = pseudo_masks[-1]["masks"]
    rows.append(
        (f"pseudo-masks {number}", "weak", False, cfg.pseudo.inference.multi_scale)
    )
    if number == cfg.rounds or cfg.segnets == "all":
        segnets.append(
            stage(
                f"train_segnet_{number}",
                "train",
                train_settings("mdh", cfg.segnet, cfg.split),
                {
                    "manifest": manifest,
                    "masks": {
                        "mask": labelled["masks"],
                        "pseudo": pseudo_masks[-1]["masks"],
                    },
                },
                modules=["pipeline.methods.mdh"],
                **weight_sources(cfg.segnet),
            )
        )
        networks[f"segnet_{number}"] = segnets[-1]
        curves[f"SegNet {number}"] = segnets[-1]["curves"]


if cfg.finetune is not None:

    include: "mdh_finetune.smk"


shown = {"curves": curves}


include: "results.smk"


use rule pick_labelled as mdh_labelled with:
    wildcard_constraints:
        key=only(labelled),


if "grabcut" in objects:

    use rule propose_grabcut as mdh_grabcut with:
        wildcard_constraints:
            key=only(objects["grabcut"]),


if "grouping" in objects:

    use rule propose_groups as mdh_grouping with:
        wildcard_constraints:
            key=only(objects["grouping"]),


if "mcg" in objects:

    use rule propose_mcg as mdh_mcg with:
        wildcard_constraints:
            key=only(objects["mcg"]),


use rule fuse_proposals as mdh_fuse_proposals with:
    wildcard_constraints:
        key=only(*assembled),


use rule train as mdh_train_annnet with:
    wildcard_constraints:
        key=only(*annnets),


use rule infer_scores as mdh_score with:
    wildcard_constraints:
        key=only(*scored),


use rule label_scores as mdh_pseudo_masks with:
    wildcard_constraints:
        key=only(*pseudo_masks),


use rule train as mdh_train_segnet with:
    wildcard_constraints:
        key=only(*segnets),
