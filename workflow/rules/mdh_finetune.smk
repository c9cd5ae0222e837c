"""The last SegNet of `mdh` goes on with further images that have boxes alone, labelled by the last AnnNet."""

extra_data = cfg.finetune.data
extra_scenes, extra_drawn = {}, []
if extra_data.source == "scenes":
    extra_drawn = [stage("extra_scenes", "generate_scenes", extra_data.scenes)]
    extra_scenes = {"folder": extra_drawn[0]["folder"]}
extra_set = stage(
    "extra_data",
    "import_data",
    extra_data.of_images,
    extra_scenes,
    **data_sources("images", extra_data),
)
extra_boxes = stage(
    "extra_boxes",
    "import_boxes",
    extra_data,
    {"manifest": extra_set["manifest"], **extra_scenes},
    **data_sources("boxes", extra_data),
)
extra_scores = stage(
    "extra_scores",
    "infer_scores",
    cfg.pseudo.inference.model_copy(update={"split": cfg.finetune.split}),
    {
        "manifest": extra_set["manifest"],
        "boxes": extra_boxes["boxes"],
        "weights": annnets[-1]["weights"],
    },
)
extra_masks = stage(
    "extra_pseudo_masks",
    "label_scores",
    pseudo_labels,
    {"manifest": extra_set["manifest"], "scores": extra_scores["scores"]},
)
joined = stage(
    "joined_sets",
    "join_sets",
    JoinSettings(split=cfg.finetune.split),
    {
        "manifest": manifest,
        "masks": pseudo_masks[-1]["masks"],
        "extra_manifest": extra_set["manifest"],
        "extra_masks": extra_masks["masks"],
    },
)
known = {"mask": labelled["masks"]} if cfg.finetune.use_labelled else {}
finetuned = stage(
    "finetune_segnet",
    "train",
    train_settings("mdh", cfg.finetune.segnet, f"{cfg.split}+extra"),
    {
        "manifest": joined["manifest"],
        "masks": {**known, "pseudo": joined["masks"]},
        "networks": {"previous": segnets[-1]["weights"]},
    },
    modules=["pipeline.methods.mdh"],
    **weight_sources(cfg.finetune.segnet),
)
networks["finetuned"] = finetuned
curves["SegNet, fine-tuned"] = finetuned["curves"]


if extra_drawn:

    use rule generate_scenes as mdh_extra_scenes with:
        wildcard_constraints:
            key=only(*extra_drawn),


use rule import_data as mdh_extra_data with:
    wildcard_constraints:
        key=only(extra_set),


use rule import_boxes as mdh_extra_boxes with:
    wildcard_constraints:
        key=only(extra_boxes),


use rule infer_scores as mdh_extra_score with:
    wildcard_constraints:
        key=only(extra_scores),


use rule label_scores as mdh_extra_pseudo_masks with:
    wildcard_constraints:
        key=only(extra_masks),


use rule join_sets as mdh_join_sets with:
    wildcard_constraints:
        key=only(joined),


use rule train as mdh_finetune with:
    wildcard_constraints:
        key=only(finetuned),
