"""`cpp-chunk profile`."""
