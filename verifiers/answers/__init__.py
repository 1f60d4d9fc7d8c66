"""Final answers: found in a solution, read, and compared with the gold one."""
