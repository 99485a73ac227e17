"""mlx-autoresearch: an agent edits `train_mlx.py` through the night; what really scores better is kept."""

__version__ = "0.1.0"
