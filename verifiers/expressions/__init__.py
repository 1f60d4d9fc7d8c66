"""Mathematical expressions: read into trees, and their exact values."""
