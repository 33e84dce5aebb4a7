"""How a network learns: the loop, its batches, its progress on disk, pre-training methods."""
