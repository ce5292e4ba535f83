"""What is trained: layout, architecture, networks, objective."""
