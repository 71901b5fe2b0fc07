"""What several networks share: layers, message passing, read-outs, packing, positions, loading."""
