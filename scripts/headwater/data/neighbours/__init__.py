"""Nearest neighbours: search for similar images by hashes, feature directions and image similarities."""
