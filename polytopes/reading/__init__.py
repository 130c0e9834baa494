"""What an experiment looks at: a model's values at chosen places of its text."""
