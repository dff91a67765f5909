"""The encoder that tells the patches of `moving_patches` apart, as a SavedModel."""

import moving_patches
import pytest

from stfc3_tf.annotation import propagate
from stfc3_tf.serving import saved_model


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    """Return the folder of the SavedModel."""
    return moving_patches.save_model(str(tmp_path_factory.mktemp('model') / 'saved_model'))


@pytest.fixture(scope='session')
def encoder(model):
    """Return the loaded SavedModel."""
    return saved_model.load(model)


@pytest.fixture(autouse=True)
def own_size(monkeypatch):
    """Show small videos at their own size to the encoder, whose cells are then their patches."""
    monkeypatch.setattr(propagate, 'LEAST_SHORT_SIDE', 1)
