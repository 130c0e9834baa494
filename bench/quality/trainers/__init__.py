"""One file a trainer: `train(cells, batches, folder)` yields each cell with the folder of the dictionary that it wrote.

A peer trains with its own loop, step, objective, start and optimiser, and with its own way of scaling activations.
"""
