"""From rulings and problems to a verdict and the words for it (design rules 3, 4 and 8)."""
