"""Assembly: what goes into each place of vLLM. Only `plugin.py` looks in here."""
