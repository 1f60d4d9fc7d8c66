"""Flows: when and where the pipeline runs, and nothing else."""
