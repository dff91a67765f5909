"""Exported encoders: written, loaded, and used over a server."""
