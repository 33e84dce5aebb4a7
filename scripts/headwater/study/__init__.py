"""What a config says: archives, sources, recipes, comparisons and the jobs that follow; neither pandas nor torch."""
