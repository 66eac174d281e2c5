"""What an engine's steps tell: the model's error, predictions, what `schedule()` costs."""
