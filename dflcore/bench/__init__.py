"""Benchmarks: what each stage costs on this machine. They print figures and ratios and never pass or fail."""
