"""Policies: what continues a prompt, one module per backend."""
