"""Processes that can be killed, and the sandbox for code that a model wrote."""
