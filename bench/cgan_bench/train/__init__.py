"""Training side by side: cgan-train and a plain loop on the same networks and images."""
