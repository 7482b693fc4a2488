"""The rate limit: what headers say (``headers``), what follows from it (``bucket``), and who waits (``limiter``)."""
