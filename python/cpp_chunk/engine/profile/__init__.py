"""Profile: passes at start-up, or a remembered profile, to samples."""
