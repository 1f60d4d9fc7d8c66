"""Files and folders that appear whole or not at all, and whose damage is noticed when they are read."""
