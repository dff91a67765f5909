"""The page on which people mark, propagate, look and correct."""
