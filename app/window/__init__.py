"""The kiosk window: the only room that imports Qt.

It pulls the newest `Result` when it paints, and sends keys back as changes of the run's controls.
"""
