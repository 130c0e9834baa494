"""The polytope lens: codes, maps and boundaries of layers whose gates switch neurons on and off."""
