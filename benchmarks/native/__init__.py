"""Programs that time the core natively."""
