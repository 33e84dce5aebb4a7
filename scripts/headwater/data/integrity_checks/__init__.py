"""What the check of a copy looks at: its tables, its catalogue and a sample of its images."""
