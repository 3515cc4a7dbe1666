"""Benchmarks: what is fast, measured, as figures and never as timed tests."""
