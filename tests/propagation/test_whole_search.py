"""The most similar cells of whole frames, against sorting all similarities."""

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf.propagation import whole_search


@pytest.mark.parametrize('count', [1, 7])
@pytest.mark.parametrize('frames', [1, 3])
def test_queries_in_several_parts_find_what_sorting_finds(frames, count):
    # So many keys that not all queries are compared at once.
    rng = np.random.default_rng(frames)
    features = rng.standard_normal((frames, 120, 100, 4)).astype(np.float32)
    queries = rng.standard_normal((900, 4)).astype(np.float32)
    cells = tf.reshape(tf.range(features[..., 0].size), features.shape[:3])
    flat = features.reshape(-1, 4)
    keys = whole_search.keys_of(cells, lambda cell: tf.gather(flat, cell))
    similarity, cell = whole_search.most_similar(queries, keys, tf.constant(count))
    all_similar = queries @ flat.T
    expected = np.sort(all_similar, axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    found = np.take_along_axis(all_similar, cell.numpy(), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_frames_have_no_candidates():
    keys = whole_search.keys_of(
        tf.zeros([0, 12, 5], tf.int32), lambda cell: tf.zeros([*cell.shape, 3])
    )
    similarity, cell = whole_search.most_similar(tf.ones([7, 3]), keys, tf.constant(4))
    assert similarity.shape == cell.shape == (7, 0)
