"""What predictions are worth: metrics, resampling, comparisons and their corrections."""
