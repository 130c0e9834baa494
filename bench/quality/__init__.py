"""How well dictionaries of equal sparsity reconstruct, trained on equal rows by winnow and by its peers."""
