"""A policy on vLLM's engine, in this process."""
