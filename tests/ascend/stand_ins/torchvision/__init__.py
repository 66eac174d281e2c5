"""Stands in for torchvision, whose build for this torch is not installed here; see `absent`."""

from absent import stand_in

# Asked for by transformers before it imports anything of it.
__version__ = "0.28.0"

stand_in(__name__)
