"""A bulk-import API on loopback, with a stored datamart, to try everything without the platform."""
