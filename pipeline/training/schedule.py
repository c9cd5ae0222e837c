"""The learning rate of each step."""

from pipeline.config.training import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Base learning rate of optimiser step ``step`` (from 0): linear warm-up, then polynomial decay to the last step.

    ``lr0 (1 - t/T)^power`` with T the number of steps unless ``length`` says more, as DeepLab and the PSA family have
    it; never below ``min_lr``.
    """
    schedule = settings.schedule
    decay: float = (1 - step / (schedule.length or settings.steps)) ** schedule.power
    warmup = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps else 1.0
    return max(settings.optimiser.lr * decay * warmup, schedule.min_lr)
