"""Released wheels of other projects, unpacked and not installed, for tests that look into them."""
