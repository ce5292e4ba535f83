"""A table becomes cells, and cells a table again; knows no network."""
