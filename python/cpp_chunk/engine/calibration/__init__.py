"""Calibrate: served steps to samples, models, the trust in them."""
