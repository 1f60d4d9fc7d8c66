"""Prompts: the text files that are sent to models, and what reads and fills them."""
