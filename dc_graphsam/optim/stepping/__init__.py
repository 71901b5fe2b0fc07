"""The step that all methods share, from the closure to the base optimizer, and its state."""
