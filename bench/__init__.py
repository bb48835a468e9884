"""Benchmarks. Nothing here ships, and nothing in the packages that ship imports it."""
