"""Models as files that hold values alone: nothing in them runs."""
