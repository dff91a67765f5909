"""Calls that are timed in turn, round after round, each in a process of its own.

What else the machine does then slows all of them alike, and the ratio of a round still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from stfc3_tf.speed import timing
from stfc3_tf.speed.timing import Figures

# A function, in a module that a new process can import, and its arguments. It returns the call.
Preparation = tuple[Callable[..., Callable[[], Any]], tuple[Any, ...]]


class Spent(NamedTuple):
    """What a call took.

    Attributes:
      seconds: float64 [rounds, 2], per call, on the clock and of the processors.
      gib: resident memory at most, beyond that of the imported libraries; None if this is not
        Linux.
    """

    seconds: np.ndarray
    gib: float | None


def compare(
    here: Preparation, others: Mapping[str, Preparation], rounds: int, calls: int
) -> Figures:
    """Time this project's call and others in turn.

    Args:
      here: this project's.
      others: what it is compared with, by name.
      rounds: how often each is measured.
      calls: made per round.

    Returns:
      Per call: the median of its seconds and processor seconds, and its memory. Per other call
      also 'X / here', the median over the rounds of the ratio of its seconds to this project's, and
      the least and the largest; the same of processor seconds.
    """
    spent = alternate({'here': here, **others}, rounds, calls)
    memory = {f'{name} GiB': each.gib for name, each in spent.items()}
    return {**summary({name: each.seconds for name, each in spent.items()}, 'here'), **memory}


def summary(seconds: Mapping[str, np.ndarray], reference: str) -> Figures:
    """Return the median times of calls, and the ratios of their rounds.

    Args:
      seconds: by name, float64 [rounds, 2], on the clock and of the processors.
      reference: one of the names.

    Returns:
      Per name the medians. Per other name X also 'X / reference', the median of the ratios of the
      rounds, and the least and the largest; the same of processor seconds.
    """
    figures: Figures = {}
    for name, each in seconds.items():
        wall, processor = np.median(each, axis=0).tolist()
        figures |= {f'{name} seconds': wall, f'{name} processor seconds': processor}
    for name in (name for name in seconds if name != reference):
        ratios = seconds[name] / seconds[reference]
        for kind, of_rounds in zip(('', ', processor seconds'), ratios.T):
            figures[f'{name} / {reference}{kind}'] = float(np.median(of_rounds))
            figures[f'{name} / {reference}{kind}, range'] = [
                float(of_rounds.min()),
                float(of_rounds.max()),
            ]
    return figures


def alternate(calls: Mapping[str, Preparation], rounds: int, repeats: int) -> dict[str, Spent]:
    """Time calls in turn.

    Args:
      calls: by name. Each is prepared, and made once, before the first round.
      rounds: how often each is measured.
      repeats: calls per measurement.

    Returns:
      What they took, by name.

    Raises:
      RuntimeError: a process died, for instance because memory ran out.
    """
    with contextlib.ExitStack() as stack:
        running = {
            name: stack.enter_context(_running(name, *preparation))
            for name, preparation in calls.items()
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, process in running.items():
                times[name].append(process.ask(repeats))
        return {
            name: Spent(np.array(times[name]), process.ask(None))
            for name, process in running.items()
        }


class _Process:
    """A process that prepares a call, and times it when it is asked."""

    def __init__(self, name: str, pipe: Connection):
        self._name, self._pipe = name, pipe

    def ask(self, repeats: int | None) -> Any:
        """Return (seconds, processor seconds) per call, or without `repeats` the memory."""
        self._pipe.send(repeats)
        return self.answer()

    def answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError(f'The measurement of {self._name} did not finish.') from None


@contextlib.contextmanager
def _running(name: str, prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]):
    pipe, other = multiprocessing.Pipe()
    with timing.process_at_work(_serve, other, prepare, arguments), pipe:
        other.close()
        running = _Process(name, pipe)
        running.answer()
        yield running


def _serve(
    pipe: Connection, prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]
) -> None:
    """Prepare a call, and answer questions until the other end of the pipe is closed."""
    before = timing.peak_gib() or 0.0
    call = prepare(*arguments)
    call()
    pipe.send('ready')
    with contextlib.suppress(EOFError):
        while True:
            repeats = pipe.recv()
            pipe.send(_memory(before) if repeats is None else timing.seconds_of(call, repeats))


def _memory(before: float) -> float | None:
    peak = timing.peak_gib()
    return None if peak is None else round(peak - before, 3)
