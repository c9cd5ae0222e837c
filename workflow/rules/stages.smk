"""One generic rule per kind of stage; a method wires them with `use rule ... as ... with`.

The whole command is the same for all: what a stage does follows from its stage.json.
"""


rule import_data:
    log:
        "import_data.log",
    conda:
        "../../envs/data.yaml"
    shell:
        "pseudomask stage {params.spec:q} 2>&1 | tee {log:q}"


use rule import_data as generate_scenes


use rule import_data as import_truth


use rule import_data as import_labels


use rule import_data as search_threshold


use rule import_data as label_scores


use rule import_data as evaluate


use rule import_data as report_run


rule train:
    log:
        "train.log",
    conda:
        "../../envs/train.yaml"
    threads: cfg.runtime.threads
    resources:
        gpu=cfg.runtime.devices if cfg.runtime.device == "cuda" else 0,
    shell:
        "pseudomask stage {params.spec:q} 2>&1 | tee {log:q}"


rule infer_cams:
    log:
        "infer_cams.log",
    conda:
        "../../envs/train.yaml"
    threads: cfg.runtime.threads
    resources:
        gpu=1 if cfg.runtime.device == "cuda" else 0,
    shell:
        "pseudomask stage {params.spec:q} --shard {wildcards.shard} 2>&1 | tee {log:q}"


use rule infer_cams as infer_scores


use rule infer_cams as refine_par


rule refine_crf:
    log:
        "refine_crf.log",
    conda:
        "../../envs/crf.yaml"
    threads: cfg.runtime.threads
    shell:
        "pseudomask stage {params.spec:q} --shard {wildcards.shard} 2>&1 | tee {log:q}"


rule merge_masks:
    input:
        lambda wildcards: shards_of(f"store/{wildcards.kind}/{wildcards.key}"),
    output:
        masks="store/{kind}/{key}/masks.h5",
        provenance="store/{kind}/{key}/provenance.json",
    log:
        "store/{kind}/{key}/log.txt",
    wildcard_constraints:
        kind="refine_crf",
    conda:
        "../../envs/data.yaml"
    params:
        parts=cfg.runtime.shards,
    shell:
        "pseudomask stage store/{wildcards.kind}/{wildcards.key}/stage.json --merge {params.parts} 2>&1 | tee {log:q}"


use rule merge_masks as merge_scores with:
    output:
        scores="store/{kind}/{key}/scores.h5",
        provenance="store/{kind}/{key}/provenance.json",
    wildcard_constraints:
        kind="infer_cams|infer_scores|refine_par",
