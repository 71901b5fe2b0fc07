"""The pass at the perturbed weights: ε̂, equal noise in both passes, running statistics left alone."""
