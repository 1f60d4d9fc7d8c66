"""From votes to labels: how far each source is trusted, and what its votes then say."""
