"""How long a frame takes over a server, against the same model in this process.

Everything is measured in turn, round after round, and medians are taken, so that other work on the
machine meets all alike. Ratios mean more than seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

import numpy as np

from stfc3_tf import propagation
from stfc3_tf.client import ServedEncoder
from stfc3_tf.serving import LoadedEncoder

Seconds = dict[str, float]


def medians(calls: Mapping[str, Callable[[], Any]], rounds: int) -> Seconds:
    """Median seconds of each call, over `rounds` rounds after one to warm up."""
    spent = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    return {name: float(np.median(values[1:])) for name, values in spent.items()}


def features(
    here: LoadedEncoder, served: Mapping[str, ServedEncoder], frame: np.ndarray, rounds: int
) -> Seconds:
    """Seconds until the features of a frame are here, 'in process' and by each server's name.

    Args:
      here: the model.
      served: the same model on servers.
      frame: uint8 [height, width, 3].
      rounds: see `medians`.
    """
    calls = {'in process': lambda: here.features(frame[None]).numpy()}
    for name, encoder in served.items():
        calls[name] = lambda encoder=encoder: encoder.features(frame[None])
    return medians(calls, rounds)


def propagate(
    here: LoadedEncoder, served: Mapping[str, ServedEncoder], frame: np.ndarray, rounds: int
) -> Seconds:
    """As `features`, of the signature `propagate` with a full context of the default settings."""
    maps = np.asarray(here.features(frame[None]))
    context = np.repeat(maps, 1 + propagation.PropagationSettings().context, axis=0)
    labels = np.ones((*context.shape[:3], 2), np.float32)
    unrestricted = np.arange(len(context)) == 0
    given = maps[0], context, labels, unrestricted
    calls = {'in process': lambda: here.propagate(*given).numpy()}
    for name, encoder in served.items():
        calls[name] = lambda encoder=encoder: encoder.propagate(*given)
    return medians(calls, rounds)
