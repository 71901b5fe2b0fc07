"""DeepChem's data sets, labels and transformers ⇄ ours."""
