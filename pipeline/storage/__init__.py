"""Files and folders that appear whole or not at all, and can be told from damaged ones."""
