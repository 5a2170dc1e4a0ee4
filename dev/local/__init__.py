"""A local AWS and a simulated Storage Gateway, for the demo and the tests."""
