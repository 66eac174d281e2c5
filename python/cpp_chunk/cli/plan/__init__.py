"""`cpp-chunk plan`."""
