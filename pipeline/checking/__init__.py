"""`stepmint check`: a run as it lies on disk against what vouches for it, and the repairs."""
