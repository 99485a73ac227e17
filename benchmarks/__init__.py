"""What our numbers are and whether they are right, each by one command."""
