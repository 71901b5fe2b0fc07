"""A model and molecules → predictions: of lists, of tables of any length."""
