"""Training by skorch: the net, its data, its callbacks, the plan that puts them together."""
