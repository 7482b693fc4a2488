"""Going through what projects have: which of it is meant, and the fan-out to it, for downloads and exports."""
