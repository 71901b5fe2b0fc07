"""Where perturbations, averages and gradients lie, and the kernels that stream over them."""
