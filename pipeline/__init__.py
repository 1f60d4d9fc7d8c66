"""From problems to labelled steps, datasets, process reward models and their evaluation."""
