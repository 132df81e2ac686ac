"""What is measured: push-universe, its peers, and the yardsticks."""
