"""One file per method: what it climbs along, and which gradient the base optimizer is given."""
