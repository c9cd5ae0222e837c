"""Work on the CPU beside a training step: labels are made while the network goes on."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Pending(Generic[Result]):
    """A result that is being made."""

    def __init__(self, future: "Future[Result]", owner: "SideWork") -> None:
        self._future, self._owner = future, owner

    def result(self) -> Result:
        """The result; waits where it is not there yet, and raises what its maker raised."""
        start = time.perf_counter()
        result = self._future.result()
        self._owner.waited += time.perf_counter() - start
        return result


class SideWork:
    """Runs functions one after the other in a thread of its own.

    What is run should spend its time where the interpreter lock is released (the CRF engine) and may use threads
    itself. Results depend on the functions alone, never on timing.

    Attributes:
        waited: seconds the caller has waited for results.
        worked: seconds the functions took.

    Args:
        inline: run at once in the caller's thread, so that ``waited`` is what the work costs; for measurements.
    """

    def __init__(self, inline: bool = False) -> None:
        self.waited = self.worked = 0.0
        self._inline = inline
        self._pool: ThreadPoolExecutor | None = None

    def start(self, work: Callable[[], Result]) -> Pending[Result]:
        """Begin; ask the returned object for the result."""
        if self._inline:
            future: Future[Result] = Future()
            start = time.perf_counter()
            future.set_result(work())
            self.worked += time.perf_counter() - start
            self.waited += time.perf_counter() - start
            return Pending(future, self)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "labels")
        return Pending(self._pool.submit(self._timed, work), self)

    def _timed(self, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.worked += time.perf_counter() - start
