"""Replaying: how a training is told to look closely at the step whose loss is no number."""

REPLAYED = "HEADWATER_REPLAYED_STEP"
"""The environment variable with the number of that step, counted from 1."""
