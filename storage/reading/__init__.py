"""Reading the rows of HTTP requests: on connections of its own, within a time limit, and never of another project."""
