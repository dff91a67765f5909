"""Seconds per call, and peak memory, of functions that run in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import gc
import multiprocessing
import os
import time
from typing import Any

from stfc3_tf import errors, stopping

Figures = dict[str, Any]


def in_own_process(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Run `measure(*arguments)` in a new process; add its peak memory, 'peak_gib'.

    Raises:
      errors.UserError: that of the measurement.
      RuntimeError: the process died, for instance because memory ran out.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with process_at_work(_measured, sender, measure, arguments):
        sender.close()
        try:
            found = receiver.recv()
        except EOFError:
            raise RuntimeError(f'{measure.__name__}{arguments} did not finish.') from None
    if isinstance(found, errors.UserError):
        raise found
    return found


@contextlib.contextmanager
def process_at_work(do: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Call a function in a new process during the block, and wait there for its end.

    The process does not outlive this one. Ctrl-C reaches this one alone, and then, as after any
    other exception, the other one is ended at once: what it does may take minutes.
    """
    process = multiprocessing.get_context('spawn').Process(target=_at_work, args=(do, arguments))
    with stopping.interrupts_kept_from_children():
        process.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()


def _at_work(do: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    stopping.end_with_parent()
    do(*arguments)


def _measured(sender, measure, arguments) -> None:
    try:
        sender.send({**measure(*arguments), 'peak_gib': peak_gib()})
    except errors.UserError as error:
        sender.send(error)


def peak_gib() -> float | None:
    """Return the largest resident memory of this process so far; None if this is not Linux."""
    # In getrusage a new process starts with the peak of the process that started it.
    if not os.path.exists('/proc/self/status'):
        return None
    with open('/proc/self/status') as status:
        kib = next(line.split()[1] for line in status if line.startswith('VmHWM:'))
    return round(int(kib) / 2**20, 3)


def seconds_per_call(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return wall and processor seconds per call: means over `repeats`, after one warm-up call."""
    function()
    return seconds_of(function, repeats)


def seconds_of(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return wall and processor seconds per call: means over `repeats`, without a warm-up."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats
