"""Methods: one file per way to pre-train a network on a corpus.

A plug-in holds
    Options: the hyper-parameters, with the paper's values as defaults
    learner(encoder, *, options, views, size, labels, task, targets, steps) -> Learner
        encoder   an Encoder to start from; size: side of the images in pixels
        labels    how many labels the corpus has; task: how they stand (see tasks); targets: float32 (rows, labels)
        steps     how many optimiser steps there will be, for schedules
        gives a Learner whose `encoder` is what is kept; everything that it learns is in parameters and buffers, so
        that a training goes on exactly where it stopped
and may hold
    SMALLEST_BATCH: how many images a batch must have for the method to have something to compare
"""
