"""What leaves the run, only where the user asked for it: video, results, events, metrics, the service manager.

Every `Result` goes in, after `privacy` has taken out what may not be told.
"""
