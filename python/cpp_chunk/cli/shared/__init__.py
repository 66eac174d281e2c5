"""What the commands share: options, values, tables, where models come from."""
