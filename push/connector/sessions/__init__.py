"""What the parts of a connector share: its sessions, and what they need of each other."""
