"""What an experiment will take of disk, memory and time."""
