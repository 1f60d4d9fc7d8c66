"""The English of logic corpora, read into formulas."""
