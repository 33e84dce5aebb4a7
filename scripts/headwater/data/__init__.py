"""From archives to arrays: reading, splitting, reducing and checking images."""
