"""Training: the loop, mini-batches, augmentation, checkpoints, pre-training methods and trackers."""
