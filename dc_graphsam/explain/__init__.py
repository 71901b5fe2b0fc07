"""Which atoms make a prediction."""
