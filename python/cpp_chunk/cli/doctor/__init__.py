"""`cpp-chunk doctor`."""
