"""Statistics of measurements: pure functions on numbers, no I/O, nothing of the harness. Method: MATH.md."""
