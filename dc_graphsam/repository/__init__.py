"""The files of a model, in a folder or a repository: which there are, fetched, checked, pushed."""
