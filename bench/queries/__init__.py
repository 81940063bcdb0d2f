"""How long queries take, against plain SQL over the rows, and whether both give the same."""
