"""One generic rule per kind of stage: its files follow from the key of the stage.

A method names its stages by `use rule train as ktse_train_classifier with: wildcard_constraints: key=only(stage)`, so that
`snakemake --rulegraph` reads like the figure of its paper. By themselves the rules here make nothing.
"""


rule import_data:
    input:
        inputs_of,
    output:
        **outputs_of("import_data"),
    log:
        file_of("import_data", LOG),
    wildcard_constraints:
        key=NO_KEY,
    conda:
        "../../envs/data.yaml"
    params:
        spec=file_of("import_data", SPEC),
    shell:
        "pseudomask stage {params.spec:q} 2>&1 | tee {log:q}"


use rule import_data as generate_scenes with:
    output:
        **outputs_of("generate_scenes", folder=directory),
    log:
        file_of("generate_scenes", LOG),
    params:
        spec=file_of("generate_scenes", SPEC),


use rule import_data as import_truth with:
    output:
        **outputs_of("import_truth"),
    log:
        file_of("import_truth", LOG),
    params:
        spec=file_of("import_truth", SPEC),


use rule import_data as import_boxes with:
    output:
        **outputs_of("import_boxes"),
    log:
        file_of("import_boxes", LOG),
    params:
        spec=file_of("import_boxes", SPEC),


use rule import_data as add_images with:
    output:
        **outputs_of("add_images"),
    log:
        file_of("add_images", LOG),
    params:
        spec=file_of("add_images", SPEC),


use rule import_data as import_labels with:
    output:
        **outputs_of("import_labels"),
    log:
        file_of("import_labels", LOG),
    params:
        spec=file_of("import_labels", SPEC),


use rule import_data as search_threshold with:
    output:
        **outputs_of("search_threshold"),
    log:
        file_of("search_threshold", LOG),
    params:
        spec=file_of("search_threshold", SPEC),


use rule import_data as label_scores with:
    output:
        **outputs_of("label_scores"),
    log:
        file_of("label_scores", LOG),
    params:
        spec=file_of("label_scores", SPEC),


use rule import_data as choose_masks with:
    output:
        **outputs_of("choose_masks"),
    log:
        file_of("choose_masks", LOG),
    params:
        spec=file_of("choose_masks", SPEC),


use rule import_data as mark_confidence with:
    output:
        **outputs_of("mark_confidence"),
    log:
        file_of("mark_confidence", LOG),
    params:
        spec=file_of("mark_confidence", SPEC),


use rule import_data as fuse_proposals with:
    output:
        **outputs_of("fuse_proposals"),
    log:
        file_of("fuse_proposals", LOG),
    params:
        spec=file_of("fuse_proposals", SPEC),


use rule import_data as pick_labelled with:
    output:
        **outputs_of("pick_labelled"),
    log:
        file_of("pick_labelled", LOG),
    params:
        spec=file_of("pick_labelled", SPEC),


use rule import_data as join_sets with:
    output:
        **outputs_of("join_sets"),
    log:
        file_of("join_sets", LOG),
    params:
        spec=file_of("join_sets", SPEC),


use rule import_data as evaluate with:
    output:
        **outputs_of(
            "evaluate",
            table=in_report("Numbers", "summary", "table"),
            csv=in_report("Numbers", "per class", "classes"),
        ),
    log:
        file_of("evaluate", LOG),
    params:
        spec=file_of("evaluate", SPEC),


use rule import_data as report_run with:
    output:
        **outputs_of(
            "report",
            page=in_report("Pictures", "all images", "page"),
            sheet=in_report("Pictures", "contact sheet", "sheet"),
        ),
    log:
        file_of("report", LOG),
    conda:
        "../../envs/report.yaml"
    params:
        spec=file_of("report", SPEC),


rule train:
    input:
        inputs_of,
    output:
        **outputs_of("train", curves=in_report("Training", "losses", "curves")),
    log:
        file_of("train", LOG),
    wildcard_constraints:
        key=NO_KEY,
    conda:
        "../../envs/train.yaml"
    threads: cfg.runtime.threads
    resources:
        **several_nodes(cfg.runtime),
        gpu=cfg.runtime.processes if cfg.runtime.device == "cuda" else 0,
    params:
        spec=file_of("train", SPEC),
        gpus=cfg.runtime.devices,
        start=start_of_processes(cfg.runtime),
    shell:
        "{params.start} pseudomask stage {params.spec:q} --gpus {params.gpus} 2>&1 | tee {log:q}"


rule infer_cams:
    input:
        inputs_of,
    output:
        temp(shard_file("store/infer_cams/{key}", "{shard}")),
    log:
        file_of("infer_cams", "shards/{shard}.log"),
    wildcard_constraints:
        key=NO_KEY,
    conda:
        "../../envs/train.yaml"
    threads: cfg.runtime.threads
    resources:
        gpu=1 if cfg.runtime.device == "cuda" else 0,
    params:
        spec=file_of("infer_cams", SPEC),
    shell:
        "pseudomask stage {params.spec:q} --shard {wildcards.shard} --gpus 1 2>&1 | tee {log:q}"


use rule infer_cams as infer_scores with:
    output:
        temp(shard_file("store/infer_scores/{key}", "{shard}")),
    log:
        file_of("infer_scores", "shards/{shard}.log"),
    params:
        spec=file_of("infer_scores", SPEC),


use rule infer_cams as refine_par with:
    output:
        temp(shard_file("store/refine_par/{key}", "{shard}")),
    log:
        file_of("refine_par", "shards/{shard}.log"),
    params:
        spec=file_of("refine_par", SPEC),


use rule infer_cams as walk_irn with:
    output:
        temp(shard_file("store/walk_irn/{key}", "{shard}")),
    log:
        file_of("walk_irn", "shards/{shard}.log"),
    params:
        spec=file_of("walk_irn", SPEC),


rule refine_crf:
    input:
        inputs_of,
    output:
        temp(shard_file("store/refine_crf/{key}", "{shard}")),
    log:
        file_of("refine_crf", "shards/{shard}.log"),
    wildcard_constraints:
        key=NO_KEY,
    conda:
        "../../envs/crf.yaml"
    threads: cfg.runtime.threads
    params:
        spec=file_of("refine_crf", SPEC),
    shell:
        "pseudomask stage {params.spec:q} --shard {wildcards.shard} 2>&1 | tee {log:q}"


use rule refine_crf as label_irn with:
    output:
        temp(shard_file("store/label_irn/{key}", "{shard}")),
    log:
        file_of("label_irn", "shards/{shard}.log"),
    params:
        spec=file_of("label_irn", SPEC),


rule propose_grabcut:
    input:
        inputs_of,
    output:
        temp(shard_file("store/propose_grabcut/{key}", "{shard}")),
    log:
        file_of("propose_grabcut", "shards/{shard}.log"),
    wildcard_constraints:
        key=NO_KEY,
    conda:
        "../../envs/proposals.yaml"
    params:
        spec=file_of("propose_grabcut", SPEC),
    shell:
        "pseudomask stage {params.spec:q} --shard {wildcards.shard} 2>&1 | tee {log:q}"


use rule propose_grabcut as propose_groups with:
    output:
        temp(shard_file("store/propose_groups/{key}", "{shard}")),
    log:
        file_of("propose_groups", "shards/{shard}.log"),
    params:
        spec=file_of("propose_groups", SPEC),


use rule propose_grabcut as propose_mcg with:
    output:
        temp(shard_file("store/propose_mcg/{key}", "{shard}")),
    log:
        file_of("propose_mcg", "shards/{shard}.log"),
    params:
        spec=file_of("propose_mcg", SPEC),


rule merge_masks:
    input:
        lambda wildcards: shards_of(f"store/{wildcards.kind}/{wildcards.key}"),
    output:
        masks=file_of("{kind}", STAGE_FILES["refine_crf"]["masks"]),
        provenance=file_of("{kind}", PROVENANCE),
    log:
        file_of("{kind}", LOG),
    wildcard_constraints:
        kind=sharded("masks"),
    conda:
        "../../envs/data.yaml"
    params:
        parts=cfg.runtime.shards,
        spec=file_of("{kind}", SPEC),
    shell:
        "pseudomask stage {params.spec} --merge {params.parts} 2>&1 | tee {log:q}"


use rule merge_masks as merge_scores with:
    output:
        scores=file_of("{kind}", STAGE_FILES["infer_cams"]["scores"]),
        provenance=file_of("{kind}", PROVENANCE),
    wildcard_constraints:
        kind=sharded("scores"),
