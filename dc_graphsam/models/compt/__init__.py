"""CoMPT (Chen et al., IJCAI 2021)."""
