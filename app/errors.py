"""What can go wrong, as the user sees it.

AppError
├── UsageError        exit code 2   options or configuration that make no sense
├── SourceError       exit code 3   no picture: camera absent or busy, file missing or no video
│   └── SourceStalled exit code 3   pictures came and then stopped
├── SourceDamaged     exit code 9   with --strict: a file was read, but not all of it could be decoded
├── ModelError        exit code 4   network, manifest or landmark model missing, unreadable or mismatched
├── DeviceError       exit code 5   the provider asked for does not work here, or shared memory is too small
├── OutputError       exit code 6   an output path cannot be written
├── DisplayError      exit code 7   a window was asked for and cannot be shown
├── SoakFailed        exit code 8   a soak run did not meet one of its points
└── InternalError     exit code 70  a worker failed in a way that nobody foresaw

Each message says what happened and what to do next. Errors of libraries are translated where they are met.
"""

from __future__ import annotations

LONGEST_MESSAGE = 1000


class AppError(Exception):
    """Base of all errors that end the program with a message instead of a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        text = super().__str__()  # may quote what was read, whatever its length
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


class UsageError(AppError):
    exit_code = 2


class SourceError(AppError):
    exit_code = 3


class SourceStalled(SourceError):
    pass


class SourceDamaged(AppError):
    exit_code = 9


class ModelError(AppError):
    exit_code = 4


class DeviceError(AppError):
    exit_code = 5


class OutputError(AppError):
    exit_code = 6


class DisplayError(AppError):
    exit_code = 7


class SoakFailed(AppError):
    exit_code = 8


class InternalError(AppError):
    exit_code = 70
