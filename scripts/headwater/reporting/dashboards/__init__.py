"""Dashboards: what a study shows at Weights & Biases besides the curves of its trainings."""
