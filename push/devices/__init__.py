"""Who the devices are: tokens and secrets, users, sessions, and pushing to them."""
