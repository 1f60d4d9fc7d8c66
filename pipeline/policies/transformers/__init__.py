"""A policy on plain transformers, in this process."""
