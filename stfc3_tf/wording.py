"""Words for messages."""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun: '1 video', '2 videos', '1,000 videos'."""
    return f'{count:,} {noun}' if count == 1 else f'{count:,} {noun}s'
