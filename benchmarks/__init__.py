"""Workloads measured beside their peers, one file each; run them with `python -m benchmarks`."""
