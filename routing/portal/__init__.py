"""What a customer sees of one workspace or endpoint, by a link and without an account. See door.py."""
