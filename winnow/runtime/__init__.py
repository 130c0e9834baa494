"""What every stage needs to run: locks, publishing, ranks, devices, threads, progress."""
