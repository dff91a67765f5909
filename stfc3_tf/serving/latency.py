"""Seconds per frame over servers, compared with the same model in this process.

All are measured in turn, round after round, and medians are taken, so that other work on the
machine affects all equally. Ratios mean more than seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import functools
import time
from typing import Any

import numpy as np

from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.serving.client import ServedEncoder
from stfc3_tf.serving.saved_model import SavedModelEncoder

Seconds = dict[str, float]


def medians(calls: Mapping[str, Callable[[], Any]], rounds: int) -> Seconds:
    """Return the median seconds of each call.

    Args:
      calls: functions by name.
      rounds: how often each is measured, after one round to warm up.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    return {name: float(np.median(values[1:])) for name, values in spent.items()}


def features(
    here: SavedModelEncoder, served: Mapping[str, ServedEncoder], frame: np.ndarray, rounds: int
) -> Seconds:
    """Return the seconds until the features of a frame have arrived, by the name of the encoder.

    Args:
      here: the model, 'in process'.
      served: the same model on servers.
      frame: uint8 [height, width, 3].
      rounds: see `medians`.

    Returns:
      Seconds by name.
    """
    return _medians_of('features', (frame[None],), here, served, rounds)


def propagate(
    here: SavedModelEncoder, served: Mapping[str, ServedEncoder], frame: np.ndarray, rounds: int
) -> Seconds:
    """Return the seconds of `propagate` with a full context of default settings, by encoder.

    Args:
      here: see `features`, as for the other arguments.
      served: the same model on servers.
      frame: uint8 [height, width, 3].
      rounds: see `medians`.

    Returns:
      Seconds by name.
    """
    maps = here.features(frame[None])
    context = np.repeat(maps, 1 + PropagationSettings().context, axis=0)
    labels = np.ones((*context.shape[:3], 2), np.float32)
    given = maps[0], context, labels, np.arange(len(context)) == 0
    return _medians_of('propagate', given, here, served, rounds)


def _medians_of(
    method: str,
    arguments: tuple[np.ndarray, ...],
    here: SavedModelEncoder,
    served: Mapping[str, ServedEncoder],
    rounds: int,
) -> Seconds:
    """Return the median seconds of a method of all encoders."""
    encoders = {'in process': here, **served}
    calls = {
        name: functools.partial(getattr(encoder, method), *arguments)
        for name, encoder in encoders.items()
    }
    return medians(calls, rounds)
