"""What leaves a run: exports, publication, reports."""
