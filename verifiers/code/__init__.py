"""Steps and solutions that are Python, run in the sandbox."""
