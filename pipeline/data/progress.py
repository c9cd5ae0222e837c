"""How far a stage over many images is."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
_log = logging.getLogger(__name__)
_SECONDS = 10.0


def progress(items: Sequence[Item], name: str) -> Iterator[Item]:
    """The items, with a line in the log every ten seconds and at the end."""
    start = last = time.monotonic()
    for number, item in enumerate(items):
        now = time.monotonic()
        if now - last >= _SECONDS:
            left = (now - start) / max(1, number) * (len(items) - number)
            _log.info("%s: %d/%d images, %.0f s left", name, number, len(items), left)
            last = now
        yield item
    _log.info("%s: %d images in %.0f s", name, len(items), time.monotonic() - start)
