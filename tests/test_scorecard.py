"""The scorecard tells good features from bad ones."""

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import encoder as encoders
from stfc3_tf import errors, scorecard


def test_the_card_of_an_untrained_encoder():
    encoder = encoders.resnet18(width=4, head_widths=(8, 6))
    row, copied = scorecard.score('untrained', encoder, 0.05)
    assert 0 < row.region < 1 and 0 <= row.position <= 1
    assert 0.3 < row.collapse < 20
    assert 0.3 < copied.region < 0.7 and copied.collapse is None
    text = scorecard.table([row, copied])
    assert f'{row.region:.3f}' in text and 'copying the first label' in text


def test_unrelated_nodes_are_of_different_scenes():
    encoder = encoders.resnet18(width=4, head_widths=(8, 6))
    one, other = scorecard.unrelated_nodes(encoder)
    np.testing.assert_array_equal(one[1:], other[:-1])
    np.testing.assert_allclose(tf.norm(one, axis=-1), 1, atol=1e-5)
    assert np.abs(one - other).max() > 0.1


def test_pictures_are_drawn():
    drawn = scorecard.draw(encoders.resnet18(width=4, head_widths=(8, 6)), 0.05)
    assert set(drawn) == {'features', 'affinity', 'masks'}
    for picture in drawn.values():
        assert picture.dtype == np.uint8 and picture.shape[-1] == 3 and picture.std() > 10


def test_an_encoder_without_padding_is_refused():
    encoder = encoders.resnet18(padding='none', width=4, head_widths=(8, 6))
    with pytest.raises(errors.UserError, match='128 x 160 .*too small.*tools.evaluate'):
        scorecard.score('valid convolutions', encoder, 0.05)
