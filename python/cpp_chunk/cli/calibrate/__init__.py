"""`cpp-chunk calibrate`."""
