"""A judge of rate limiters: servers whose policy is known exactly, in virtual time."""
