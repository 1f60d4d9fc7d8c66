"""`stepmint check`: compares a run's files with their checksums and with each other, and repairs them."""
