"""What the API knows, as tables: rows, the state that a later run goes on from, and the formats they are written in."""
