"""Tells addresses of object stores from folders. Imported by the command line's parser, so nothing heavy."""


def is_url(name: str) -> bool:
    """Whether a folder's name is the address of an object store: `s3://bucket/runs`, `file:///mnt/runs`."""
    return "://" in name
