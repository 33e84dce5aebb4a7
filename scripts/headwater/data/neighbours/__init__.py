"""Which images are alike: hashes, directions and similarities searched for near pairs."""
