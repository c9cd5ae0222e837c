"""Configuration, the plan of the run, and what every rule file uses."""

import sys
from pathlib import Path

from pipeline.artifacts.layout import (
    LOG,
    PROVENANCE,
    SHARDED,
    SPEC,
    STAGE_FILES,
    shard_file,
)
from pipeline.artifacts.plan import Plan
from pipeline.config.background import LabelSettings
from pipeline.config.choice import ChoiceSettings
from pipeline.config.confidence import ConfidenceStage
from pipeline.config.load import load_run, published_rows
from pipeline.config.public_weights import weights_file
from pipeline.config.training import TrainStage
from pipeline.data.images import data_root
from pipeline.data.importing import source_files
from pipeline.errors import PseudomaskError
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

TREE = Path(str(workflow.current_basedir)).parents[1]

# `pseudomask` is the command of the active environment, else that beside the Snakemake that reads this file. An
# environment Snakemake makes for a rule (`--sdm conda`) holds packages alone; there it comes with the project's tree.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    search = f"{TREE}/envs/bin:$PATH"
else:
    search = f"$PATH:{Path(sys.executable).parent}"
shell.prefix(f'set -euo pipefail; PATH="{search}"; ')

CONFIGS = TREE / "configs"


def build(function, *arguments, **named):
    """Call ``function`` and show a user's mistake as Snakemake shows its own, without a traceback."""
    try:
        return function(*arguments, **named)
    except PseudomaskError as error:
        raise WorkflowError(str(error)) from None


if "method" not in config and "extends" not in config:
    config = {"extends": ["demo/cam.yaml"], **config}
cfg = build(load_run, config, CONFIGS)
runtime = cfg.runtime
if cfg.data.source == "scenes":
    # Generated scenes lie in the store, below the working folder, wherever other data are.
    runtime = runtime.model_copy(update={"data_root": Path()})
ROOT = data_root(runtime)
plan = Plan(cfg.run, cfg.model_dump(mode="json"), runtime)


def stage(*arguments, **named):
    """Add a stage to the plan."""
    return build(plan.stage, *arguments, **named)


def data_sources(what, data=None):
    """The user's files behind the manifest, the masks or the boxes, whose content enters the key."""
    data = data or cfg.data
    if data.source == "scenes":
        return {}
    return {"sources": build(source_files, data, ROOT, what), "source_root": ROOT}


def weight_sources(settings):
    """The file of initial weights, whose content enters the key."""
    path = build(weights_file, settings.network, ROOT)
    return {} if path is None else {"sources": [path], "source_root": ROOT}


def train_settings(objective, settings, split, seed=None):
    """Settings of the stage `train` for one objective; the run's seed unless told otherwise."""
    return TrainStage(
        objective=objective,
        split=split,
        seed=cfg.seed if seed is None else seed,
        settings=settings.model_dump(mode="json"),
    )


def threshold_search(name, maps):
    """Add the search for the background score that suits `maps` best, measured on the true masks."""
    files = {**maps, "truth": truth["masks"]}
    return stage(name, "search_threshold", cfg.threshold, files)


def file_of(kind, name):
    """Path of a file of any stage of a kind, with the wildcard `key`."""
    return f"store/{kind}/{{key}}/{name}"


def sharded(output):
    """Constraint of the wildcard `kind`: sharded stages with this output."""
    return "|".join(sorted(kind for kind in SHARDED if output in STAGE_FILES[kind]))


def outputs_of(kind, **flags):
    """Outputs of any stage of a kind by name; `flags` wraps some, such as folder=directory."""
    files = {**STAGE_FILES[kind], "provenance": PROVENANCE}
    return {
        name: flags.get(name, str)(file_of(kind, file)) for name, file in files.items()
    }


def in_report(category, what, caption):
    """Flag for `outputs_of`: the file enters Snakemake's report, labelled with the name of its stage."""

    def labels(wildcards):
        stages = (s.name for s in plan.stages.values() if s.key == wildcards.key)
        return {"stage": next(stages), "file": what}

    return lambda path: report(
        path, caption=f"../report/{caption}.rst", category=category, labels=labels
    )


def several_nodes(runtime):
    """Resources of a training on several machines: one task per device; SLURM's plugin leaves starting them to the rule."""
    if runtime.nodes == 1:
        return {}
    return {
        "nodes": runtime.nodes,
        "tasks": runtime.processes,
        "tasks_per_gpu": 1,
        "mpi": "srun",
    }


def check_arrays():
    """Refuse what SLURM's plugin would wait for without end: an array of which only a part may be submitted at once.

    It (2.8) forgets jobs that are chosen while more of their rule stay behind, as limits make Snakemake choose.
    """
    if not getattr(workflow.executor_settings, "array_jobs", None):
        return
    count = sum(1 for _ in workflow.dag.needrun_jobs())
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    limits = {
        "jobs": workflow.resource_settings.nodes,
        "max-jobs-per-timespan": count if rate is None else rate.max_jobs,
        **{
            f"resources {name}": 0
            for name in workflow.global_resources
            if not name.startswith("_")
        },
    }
    small = [name for name, limit in limits.items() if limit < count]
    if small:
        raise PseudomaskError(
            f"{count} jobs are to run, but --{small[0]} may hold some back, and then SLURM's plugin never submits an "
            'array: raise it, or give up arrays with --slurm-array-jobs ""'
        )


def start_of_processes(runtime):
    """What comes before the command of a training: srun within an allocation of several nodes."""
    if runtime.nodes == 1:
        return ""
    # All tasks of a node see its GPUs and take theirs by number; one that dies takes the others along.
    size = f"--nodes={runtime.nodes} --ntasks={runtime.processes} --ntasks-per-node={runtime.devices}"
    return f"${{SLURM_JOB_ID:+srun {size} --gpu-bind=none --kill-on-bad-exit=1}}"


def inputs_of(wildcards):
    """Input files of the stage with this key; time stamps never decide, so they are ancient."""
    found, *_ = (s for s in plan.stages.values() if s.key == wildcards.key)
    return [ancient(path) for path in found.input_files]


NO_KEY = "none"
claimed = set()


def only(*stages):
    """Constraint of the wildcard `key`: a rule makes these stages, but for those that an earlier rule makes.

    Stages of equal settings and inputs share a key, and only one rule may make a file.
    """
    own = {added.key for added in stages} - claimed
    claimed.update(own)
    return "|".join(sorted(own)) or NO_KEY


def shards_of(folder):
    """Shard stores of a sharded stage, which `merge_*` joins."""
    count = cfg.runtime.shards
    return [ancient(shard_file(folder, f"{part}-of-{count}")) for part in range(count)]


def what_is_kept(run):
    """What a user is told when a job failed."""
    return f"Finished stages are kept; run again to go on. Logs: results/{run}/<stage>/log.txt"


def final_outputs():
    """What `snakemake` makes by default: the last files of the run, and every stage's provenance."""
    return [
        *plan.stages["report"].outputs.values(),
        *(added.provenance for added in plan.stages.values()),
    ]


wildcard_constraints:
    shard=r"\d+-of-\d+",
    key=r"[0-9a-f]{16}",
