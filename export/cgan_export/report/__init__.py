"""What the gates cannot say in one figure: where a graph goes wrong, and the page that shows it."""
