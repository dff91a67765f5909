"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_LINES = 20


def counted(count: int, noun: str) -> str:
    """Return a number and its noun: '1 video', '2 videos', '1,000 videos'."""
    return f'{count:,} {noun}' if count == 1 else f'{count:,} {noun}s'


def listed(heading: str, lines: Sequence[str]) -> str:
    """Return a heading and the first lines below it, indented."""
    left = len(lines) - _MOST_LINES
    rest = [f'... and {left} more'] if left > 0 else []
    return '\n  '.join([heading, *lines[:_MOST_LINES], *rest])
