"""A training run: built, resumed, watched and kept."""
