"""A bulk-import API on loopback, with a stored datamart: to try, test and trust without the platform."""
