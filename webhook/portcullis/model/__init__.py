"""What flows through the gate: frozen values, standard library only, no behaviour beyond their own shape."""
