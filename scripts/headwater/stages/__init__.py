"""The verbs of the workflow: each reads files and writes files, and none imports another."""
