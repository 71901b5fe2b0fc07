"""The built-in data sets: which there are, where their files lie, how they are read."""
