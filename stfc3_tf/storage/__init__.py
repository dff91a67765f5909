"""Paths anywhere, files whole or absent, and pictures read and written."""
