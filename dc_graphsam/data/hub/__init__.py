"""Tables of graphs and of molecules on the Hub: read, described, pushed."""
