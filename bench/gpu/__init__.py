"""The parts of bench/gpu_check.py, each with a function for every line of `--only`."""
