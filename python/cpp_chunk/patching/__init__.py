"""Patching: where vLLM is patched, as data, and how one attribute is."""
