"""Fixtures of all tests."""

import gin
import pytest


@pytest.fixture(autouse=True)
def fresh_configuration():
    """Clear gin's settings before and after each test."""
    gin.clear_config()
    yield
    gin.clear_config()
