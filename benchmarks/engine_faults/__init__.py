"""Real engines whose workers fail: for the benchmark and for the tests."""
