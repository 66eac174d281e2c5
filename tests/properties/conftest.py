"""How many examples: a fixed few hundred in the suite, `--hypothesis-profile=search` for a hunt."""

from hypothesis import HealthCheck, settings

settings.register_profile("planning", deadline=None, max_examples=300, derandomize=True)
settings.register_profile(
    "search", deadline=None, max_examples=5_000, suppress_health_check=list(HealthCheck)
)
settings.load_profile("planning")
