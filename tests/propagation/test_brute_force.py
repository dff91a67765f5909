"""The brute-force reference is the definition."""

import numpy as np
import pytest

from stfc3_tf.propagation import brute_force, propagator


def random_context(seed, rows, columns):
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((4, rows, columns, 6)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=-1, keepdims=True)
    labels = rng.random((3, rows, columns, 2)).astype(np.float32)
    return maps[3], maps[:3], labels, np.array([True, False, False])


@pytest.mark.parametrize('chunk', [7, 10, 1000])
def test_brute_force_is_the_definition_in_chunks_of_any_size(chunk):
    settings = propagator.PropagationSettings(radius=3.0, top_k=4, temperature=0.1)
    given = random_context(0, 6, 5)
    found = brute_force.brute_force(*given, settings, chunk=chunk)
    query, context, labels, unrestricted = given
    for row, column in np.ndindex(6, 5):
        candidates = [
            (float(context[frame, y, x] @ query[row, column]), labels[frame, y, x])
            for frame, y, x in np.ndindex(3, 6, 5)
            if unrestricted[frame] or np.hypot(y - row, x - column) < 3
        ]
        best = sorted(candidates, key=lambda pair: -pair[0])[:4]
        weights = np.exp(np.array([value for value, _ in best]) / 0.1)
        expected = weights @ np.stack([label for _, label in best]) / weights.sum()
        np.testing.assert_allclose(found[row, column], expected, atol=1e-5)
