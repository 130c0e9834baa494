"""Affine maps fitted to cells of rows, and how far a boundary changes the output."""
