"""Us and the others, side by side. See RESULTS.md; `make bench` makes it."""
