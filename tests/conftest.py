"""Fixtures of all tests."""

import os

# As commands do it, see stfc3_tf.stack. It takes effect before NumPy is imported.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import gin  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_configuration():
    """Clear gin's settings before and after each test."""
    gin.clear_config()
    yield
    gin.clear_config()
