"""The engine: trains and scores a network on one or many processors, without knowing what it is for."""
