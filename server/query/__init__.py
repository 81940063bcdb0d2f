"""The query service: what a query may ask, what it answers, and the order in which that happens."""
