"""What each command takes: its options, its help with an example, and which function of app/commands/ it calls."""
