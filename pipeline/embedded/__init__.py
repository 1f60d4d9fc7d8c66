"""The embedded default: problems with exact truth and the small language model that attempts them."""
