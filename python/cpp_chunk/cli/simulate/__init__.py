"""`cpp-chunk simulate`."""
