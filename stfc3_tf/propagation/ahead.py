"""The next frame is prepared while the last one is propagated."""

from __future__ import annotations

from collections.abc import Iterator
import concurrent.futures
from typing import TypeVar

_Item = TypeVar('_Item')
_END = object()


def one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield items; while the caller uses one, a thread makes the next.

    An error in making an item is raised in its place, after the items before it. If the caller
    stops early, the item that is being made is finished and dropped.

    Args:
      items: made by the thread alone, never two at once.

    Yields:
      The same items, in the same order.
    """
    with concurrent.futures.ThreadPoolExecutor(1, 'one_ahead') as thread:
        upcoming = thread.submit(next, items, _END)
        while (item := upcoming.result()) is not _END:
            upcoming = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]
