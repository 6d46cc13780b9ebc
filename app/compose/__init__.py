"""The composition root: from settings to a wired pipeline. The only room that knows all others.

Stands on everything but the window; what measures, explains and is typed stands on it.
"""

from app.compose.front_ends import make_front_end
from app.compose.networks import load_manifest, load_profile
from app.compose.runs import App, Begun, Once, begin, build, load

__all__ = ["App", "Begun", "Once", "begin", "build", "load", "load_manifest", "load_profile", "make_front_end"]
