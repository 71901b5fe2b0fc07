"""Looking inside a training: gradients, sharpness, curvature."""
