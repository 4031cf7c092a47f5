"""Energy models made of a cost table: arithmetic alone, with memory traffic, and against a bit-matched quantised ANN."""
