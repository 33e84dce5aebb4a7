"""The verbs of the river: each reads files and writes files, and none imports another."""
