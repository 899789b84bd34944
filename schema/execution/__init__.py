"""How operations run: what of them is the same every time is worked out once."""
