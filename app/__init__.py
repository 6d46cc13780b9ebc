"""The application: from a camera or a video to age, gender and expression on screen. Start reading at pipeline.py."""
