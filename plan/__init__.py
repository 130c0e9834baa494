"""Estimate the disk, memory and time that an experiment will take."""
