"""Fixtures of the tests of figures."""

from matplotlib import figure as mpl_figure
import pytest


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that a test writes, in their order."""
    kept, write = [], mpl_figure.Figure.savefig

    def keep(figure, *arguments, **named):
        kept.append(figure)
        return write(figure, *arguments, **named)

    monkeypatch.setattr(mpl_figure.Figure, 'savefig', keep)
    return kept
