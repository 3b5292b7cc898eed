"""A server under load: many clients, or requests at planned instants."""
