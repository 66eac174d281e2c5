"""Stands in for gguf, which is not installed here; see `absent`."""

from absent import stand_in

stand_in(__name__)
