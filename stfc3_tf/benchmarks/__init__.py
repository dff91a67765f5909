"""Benchmarks: one reader, protocol, metric and official output format a data set."""
