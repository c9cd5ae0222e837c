"""How far a training is: lines in a log."""

import logging
import time

_log = logging.getLogger(__name__)


class Progress:
    """Reports steps as they are recorded.

    Args:
        name: name of the stage.
        first: step the training starts from.
        steps: number of the last step.
        batch: images per step.
    """

    def __init__(self, name: str, first: int, steps: int, batch: int) -> None:
        self._name, self._steps, self._batch = name, steps, batch
        self._first, self._start = first, time.monotonic()

    def show(self, step: int, rate: float, losses: dict[str, float]) -> None:
        """Report the state after ``step`` steps."""
        seconds = (time.monotonic() - self._start) / max(1, step - self._first)
        parts = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        left = seconds * (self._steps - step)
        _log.info(
            "%s: step %d/%d  %s  lr %.3g  %.1f images/s  %.0f min %02.0f s left",
            *(self._name, step, self._steps, parts, rate, self._batch / seconds, left // 60, left % 60),
        )
