"""Prompts: text files that are sent to models, and the module that reads, checks and fills them."""
