"""A policy behind an OpenAI-compatible HTTP server."""
