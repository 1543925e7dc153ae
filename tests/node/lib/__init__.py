"""What the tests with real processes share: nodes and clusters of metcd,
HTTP as bytes, load, and a checker of histories."""
