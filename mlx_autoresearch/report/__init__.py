"""What a person sees of a night."""
