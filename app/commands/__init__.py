"""One function per command; what a command needs is imported when it is run, so that none pays for another's start."""

from app.commands.bench import bench
from app.commands.networks import evaluate, export, prepare, train
from app.commands.replay import replay_log
from app.commands.run import run

__all__ = ["bench", "evaluate", "export", "prepare", "replay_log", "run", "train"]
