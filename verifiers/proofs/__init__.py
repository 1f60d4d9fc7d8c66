"""Inferences and proof lines, judged by what they rest on."""
