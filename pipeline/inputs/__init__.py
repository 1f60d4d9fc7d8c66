"""Problems and solutions as they come: rows of files and datasets, read and split into steps."""
