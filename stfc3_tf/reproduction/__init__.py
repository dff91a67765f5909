"""Many configurations, seeds and benchmarks, run part by part into one table."""
