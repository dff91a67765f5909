"""One unbroken run, with which the interrupted ones are compared."""

import pytest
import training_runs


@pytest.fixture(scope='session')
def unbroken(tmp_path_factory):
    """Return folder and output of a run that nothing interrupted; copy it before changing it."""
    model_dir = tmp_path_factory.mktemp('unbroken')
    status, output = training_runs.run(model_dir)
    assert status == 0, output
    return model_dir, output
