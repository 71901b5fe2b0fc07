"""A finished run → a repository on the Hub, with its card."""
