"""Reads problems and solutions from files, datasets and functions, and splits solutions into steps."""
