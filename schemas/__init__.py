"""Records, configuration and manifests: what crosses a file, process or network boundary."""
