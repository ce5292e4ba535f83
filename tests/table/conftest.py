"""A small table, and its embedding."""

from small_tables import embedding_of_small_table, small_table

__all__ = ["embedding_of_small_table", "small_table"]
