"""The work of a run: its plan, its shards, its seal, and grading again."""
