"""Benchmarks: peers side by side on the same work, JSON out."""
