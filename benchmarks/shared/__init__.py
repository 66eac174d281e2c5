"""A figure: its row, its limit, its table."""
