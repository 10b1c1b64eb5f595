"""Measurements beside the tools people would otherwise use; one command a question."""
