"""How the radius ρ changes during a training."""
