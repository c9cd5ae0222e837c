"""Weak labels to pseudo-masks to a segmentation network; see README.md and docs/architecture.md."""


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: f"workflow/rules/{cfg.method}.smk"
include: "workflow/rules/messages.smk"


rule all:
    default_target: True
    input:
        final_outputs(),
