"""Who the devices are: tokens and secrets, users and sessions."""
