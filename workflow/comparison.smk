"""Several runs in one graph, stages they share made once, and then one table of them all.

    snakemake --cores 8 --snakefile workflow/comparison.smk --config runs="[configs/demo/*.yaml]" table=demos.md

- `runs`: configurations, or patterns of them; differences are to the first, and a file named twice counts once
- `seeds`: each run once with each of them; left out: with its own
- `table`: where the table goes
- `page`: where a page of the images on which runs disagree goes; left out: none is made
- `title`: heading of the table's file, below which stand the day and the settings that went to every run

Other settings, such as `runtime__device=cuda`, go to every run.
"""

import re
import sys
from datetime import date
from glob import glob
from pathlib import Path

from pipeline.config.load import read_yaml, resolve
from pipeline.errors import PseudomaskError
from snakemake.exceptions import WorkflowError

CONFIGS = Path(str(workflow.current_basedir)).parent / "configs"


def name_of(file):
    """Name of the run a configuration describes."""
    try:
        return resolve(read_yaml(file), CONFIGS).get("run", file.stem)
    except PseudomaskError as error:
        raise WorkflowError(str(error)) from None


def members(runs=(), seeds=(None,), table=None, page=None, title=None, **changes):
    """Configuration of each run by the prefix of its rules."""
    if not isinstance(runs, (list, tuple)) or not isinstance(seeds, (list, tuple)):
        raise WorkflowError('runs and seeds are lists: runs="[a.yaml]" seeds="[0, 1]"')
    found, seen = {}, set()
    for pattern in runs:
        files = sorted(map(Path, glob(pattern)))
        if not files:
            raise WorkflowError(f"runs: there is no configuration '{pattern}'")
        for file in files:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            own = name_of(file)
            for seed in seeds:
                of_seed = {} if seed is None else {"seed": seed}
                run = own if seed is None else f"{own}-{seed}"
                prefix = re.sub(r"\W", "_", run) + "_"
                if prefix in found:
                    raise WorkflowError(
                        f"{file}: another of the runs is called '{run}', too; rename one (`run:`)"
                    )
                found[prefix] = {
                    "extends": [str(file.resolve())],
                    "run": run,
                    **of_seed,
                    **changes,
                }
    if not isinstance(title, (str, type(None))):
        raise WorkflowError(
            "title: a heading without ': ', which YAML takes for something else"
        )
    if not found or table is None:
        raise WorkflowError(
            'say what to compare: --config runs="[configs/demo/*.yaml]" table=demos.md'
        )
    return found


def heading(runs=(), seeds=(), table=None, page=None, title=None, **changes):
    """What stands above the table."""
    if title is None:
        return ""
    words = ", ".join(f"{name}={value}" for name, value in changes.items())
    return (
        f"# {title}\n\n{date.today()}{'; all runs with ' + words if words else ''}.\n\n"
    )


MEMBERS = members(**config)
for member, settings in MEMBERS.items():

    module:
        name: member
        snakefile:
            "../Snakefile"
        config:
            settings

    use rule * from member as member*


RUNS = [globals()[name] for name in MEMBERS]
# What runs share has a rule in each of them: the first one's makes it.
workflow.ruleorder(*(rule.name for rule in workflow.rules))


localrules:
    compare,


rule compare:  # makes no file Snakemake knows of, so it is done at the end of every run
    default_target: True
    input:
        [ancient(run.final_outputs()) for run in RUNS],
    params:
        runs=[run.plan.results for run in RUNS],
        page=["--page", config["page"]] if "page" in config else [],
        table=config["table"],
        heading=heading(**config),
    shell:
        'mkdir -p "$(dirname {params.table:q})"; '
        "{{ printf %s {params.heading:q}; pseudomask compare {params.runs:q} {params.page:q}; }} | tee {params.table:q}"


onstart:
    for run in RUNS:
        run.onstart()


onerror:
    print(RUNS[0].what_is_kept("<run>"), file=sys.stderr)
