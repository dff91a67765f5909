"""The network, the palindrome walk, its loss and the training step."""
