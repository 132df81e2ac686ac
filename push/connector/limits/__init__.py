"""What keeps one client of a connector from taking what belongs to the others."""
