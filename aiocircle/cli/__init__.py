"""The command ``aiocircle``: one file per command; output, progress and exit codes in one place each."""
