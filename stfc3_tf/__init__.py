"""Video correspondence without labels: STFC3 in TensorFlow."""

__version__ = '0.1.0'
