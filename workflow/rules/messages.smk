"""What a user is told: why stages run, what came out, where to look. Included last, when the plan is complete."""

plan.hand_over()

if workflow.is_main_process:
    for name, reason in plan.reasons().items():
        print(f"{name}: {reason}", file=sys.stderr)


onstart:
    build(check_arrays)
    build(plan.write)


onsuccess:
    if plan.stages["report"].done:
        if "evaluation" in plan.stages:
            print(Path(plan.stages["evaluation"]["table"].path).read_text())
        print(f"pictures and tables: results/{cfg.run}/report/index.html")


onerror:
    print(what_is_kept(cfg.run), file=sys.stderr)
