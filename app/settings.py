"""The settings of a run: frozen, checked, and printable.

The fields of Settings are the one table of what can be set. The command line and its help, the configuration file and
the environment (config.py) are made from it. A test compares the list in docs/reference/command-line.md with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import typing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.errors import UsageError
from app.files import STDOUT
from models.manifest import DEFAULT_MODEL

APP_NAME = "elastic-faces"
DEFAULT_FPS = 15.0
SIZE = re.compile(r"[1-9]\d{1,4}[xX][1-9]\d{1,4}")
MOST_CAMERAS, LEAST_LOOK_SHARE = 16, 0.01
CAMERA = "{camera}"  # stands for a camera's name in the path of a video
PIN = re.compile("[0-9]{4,8}")
WORDS = ("age", "expression", "gender")  # that labels may tell
# Credentials stand in the environment alone: they are no settings, and are neither shown nor logged.
SECRETS = {
    "username": "ELASTIC_FACES_MQTT_USERNAME",
    "password": "ELASTIC_FACES_MQTT_PASSWORD",
    "token": "ELASTIC_FACES_WEBHOOK_TOKEN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting as people meet it. A Path names a file that the run writes."""

    name: str
    kind: type  # str, int, float, bool or Path
    default: Any
    group: str
    help: str
    metavar: str = ""
    default_text: str = ""  # where the value says too little
    example: Any = None  # for the configuration file, where the default is None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    hidden_path: bool = False  # of a URL whose path may be a secret
    secret: bool = False  # never shown

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> None:
        """Raises UsageError for a value of the right type that makes no sense."""
        if self.choices and value not in self.choices:
            known = f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
            raise UsageError(f"{self.flag} must be {known}, got {str(value)[:80]!r}")
        if self.least is not None and self.most is not None and not self.least <= value <= self.most:
            # Not :g at once: neither it nor str() can write an integer of thousands of digits.
            got = f"{value:g}" if abs(value) < 1e18 or value != value else "a number out of range"
            raise UsageError(f"{self.flag} must be from {self.least:g} to {self.most:g}, got {got}")


MOST_JOBS = 64


def _option(default: Any, group: str, help: str, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={"option": {"group": group, "help": help, **more}})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Exactly one of `target_fps` and `budget_ms` rules: see `frame_budget_ms`."""

    source: str = _option(
        "auto",
        "picture",
        "`auto` (camera 0 where there is one, else the demo), `demo` or `demo:32` (up to 32 people), a camera's number, "
        "path or part of its name, a URL (`rtsp://`, `http://`), a file, a folder, a pattern (`'footage/*.mp4'`), numbered "
        "pictures (`shots/%04d.png`), `-` (standard input); several files one after the other, several cameras together",
    )
    reconnect_s: float | None = _option(
        None,
        "picture",
        "how long to try again when a camera or stream breaks off; 0: end the run at once",
        metavar="S",
        default_text="for ever",
        example=600.0,
        least=0,
        most=1e9,
    )
    wait_for_source: bool = _option(
        False, "picture", "start although the camera or stream is not there yet, and wait for it"
    )
    camera_size: str = _option("1280x720", "picture", "picture size to ask the camera for", metavar="WIDTHxHEIGHT")
    camera_fps: float | None = _option(
        None,
        "picture",
        "frame rate to ask the camera for",
        metavar="FPS",
        default_text="its own",
        example=30.0,
        least=1,
        most=240,
    )
    camera_exposure_ms: float | None = _option(
        None,
        "picture",
        "exposure time to ask the camera for; shorter: less blur, darker pictures",
        metavar="MS",
        default_text="the camera chooses it",
        example=10.0,
        least=0.1,
        most=1000,
    )
    loop: bool = _option(
        False,
        "picture",
        "start again at the end of a file or of the demo",
        default_text="off; on for the demo in a window",
    )
    realtime: bool = _option(
        False, "picture", "play a file like a camera: at its own rate, with a budget and dropped frames"
    )
    start: float | None = _option(
        None,
        "picture",
        "begin a file at this second",
        metavar="S",
        default_text="its beginning",
        example=60.0,
        least=0,
        most=1e7,
    )
    end: float | None = _option(
        None,
        "picture",
        "end a file at this second",
        metavar="S",
        default_text="its end",
        example=90.0,
        least=0,
        most=1e7,
    )
    every: str | None = _option(
        None,
        "picture",
        "read one picture of a file every N seconds (`0.5`), or every n-th (`10th`)",
        metavar="STEP",
        default_text="all",
        example="0.5",
    )
    resume: bool = _option(
        False, "picture", "with several files, skip those whose outputs are complete from an earlier run"
    )
    jobs: int = _option(
        1,
        "picture",
        "with several files, how many are read at once; one keeps two cores busy",
        metavar="N",
        least=1,
        most=MOST_JOBS,
    )
    strict: bool = _option(
        False, "picture", "end with exit code 9 when a file is damaged or cut off, instead of a warning"
    )
    target_fps: float | None = _option(
        None,
        "time and network",
        "frame rate to hold: a frame may take 1/FPS from camera to result; files have no such limit without "
        "`--realtime`",
        metavar="FPS",
        default_text=f"{DEFAULT_FPS:g}",
        example=DEFAULT_FPS,
        least=0.1,
        most=1000,
    )
    budget_ms: float | None = _option(
        None,
        "time and network",
        "the same limit in milliseconds; give one of the two",
        metavar="MS",
        example=66.7,
        least=1,
        most=10_000,
    )
    exit: str = _option(
        "auto",
        "time and network",
        "`auto`: for a camera, the exit and the number of faces with the least error within the budget; for a"
        " file, the most accurate exit. Or always this exit: `exit_09` or `9` (at its largest input), `9@64`,"
        " `12+mirror` (the mirror image too)",
        metavar="NAME",
    )
    policy: str = _option(
        "value-per-person",
        "time and network",
        "how `--exit auto` decides: `value-per-person` reads those whose shown answer is likely the most wrong, "
        "`deepest-that-fits` everybody at the deepest exit whose measured time fits the budget (← → in the panel)",
        choices=("value-per-person", "deepest-that-fits"),
    )
    economy: float = _option(
        1.0,
        "time and network",
        "with `value-per-person`: how much a reading must be worth; 0 reads everybody whenever there is time, 3 saves the "
        "most processor time",
        metavar="TIMES",
        least=0,
        most=100,
    )
    device: str = _option(
        "auto",
        "time and network",
        "what the network runs on: `auto`, `cpu`, `cuda`, or `openvino` beside the CPU (also `openvino:CPU`, "
        "`openvino:GPU`; needs `pip install -r requirements-openvino.txt`); `auto` takes what works and says "
        "what; the others fail where they do not work",
        choices=("auto", "cpu", "cuda", "openvino", "openvino:CPU", "openvino:GPU"),
    )
    server: str | None = _option(
        None,
        "time and network",
        "let a server read faces too, over KServe v2, as Triton does (`grpc://`, or `grpcs://` with TLS): crops of faces "
        "leave this machine; `main.py export --triton` writes what it loads; needs `pip install -r "
        "requirements-server.txt`",
        metavar="URL",
        example="grpc://server.example:8001",
    )
    model: str = _option(DEFAULT_MODEL, "time and network", "a shipped network's name, or the path of a manifest")
    max_faces: int = _option(
        32, "time and network", "read at most N faces a frame, the largest first", metavar="N", least=1, most=256
    )
    min_face: float | None = _option(
        None,
        "time and network",
        "width of the smallest face to look for, in the source's pixels; half the width takes four times as long",
        metavar="PIXELS",
        default_text="a twentieth of the picture's longer side",
        example=64.0,
        least=16,
        most=10_000,
    )
    detector: str = _option(
        "both",
        "time and network",
        "what finds new faces: `both` (Viola-Jones, and CenterFace now and then), `viola-jones`, "
        "`centerface`, `dlib-hog`, or `yunet:PATH` with an ONNX file from OpenCV's model zoo",
        metavar="NAME",
    )
    look_share: float = _option(
        0.2,
        "time and network",
        "share of one core that CenterFace may take with live pictures, all cameras together",
        metavar="SHARE",
        least=LEAST_LOOK_SHARE,
        most=1,
    )
    every_frame: bool = _option(
        False,
        "time and network",
        "search the whole of every frame before it is shown, whatever it costs: with `--privacy blur` no "
        "newcomer is seen uncovered",
    )
    threads: int | None = _option(
        None,
        "time and network",
        "threads for the network",
        metavar="N",
        default_text="one less than there are cores",
        example=2,
        least=1,
        most=256,
    )
    profile: str | None = _option(
        None,
        "time and network",
        "a latency profile written by `calibrate --out`, instead of the remembered one",
        metavar="PROFILE.json",
        example="profile.json",
    )
    recalibrate: bool = _option(
        False, "time and network", "measure the exits' latency again, instead of using the remembered profile"
    )
    show: bool | None = _option(
        None,
        "window",
        "`--show`: a missing screen is an error; `--no-show`: no window",
        default_text="a window where there is a screen",
        example=True,
    )
    fullscreen: bool = _option(False, "window", "start on the whole screen (F11)")
    screen: str | None = _option(
        None,
        "window",
        "the screen for the window: a number from 1, or its name, as HDMI-1",
        metavar="SCREEN",
        default_text="the system's first",
        example="HDMI-1",
    )
    rotate: str = _option(
        "0",
        "window",
        "turn the window's content clockwise by `90`, `180` or `270` degrees, for a screen mounted that way",
        choices=("0", "90", "180", "270"),
    )
    mirror: bool | None = _option(
        None,
        "window",
        "show people as in a mirror (M); not texts, not files",
        default_text="on for a camera",
        example=True,
    )
    fill: bool = _option(
        False, "window", "fill the screen, and cut off the picture's edges (Z), as for an upright screen"
    )
    panel: bool = _option(False, "window", "start with the operator's panel (P)")
    pin: str | None = _option(
        None,
        "window",
        "digits that unlock the operator's menu (a long press in a corner) and all keys but L and C; 4 to 8 of them",
        metavar="DIGITS",
        example="4711",
        secret=True,
    )
    high_contrast: bool = _option(False, "window", "white and yellow on black (C)")
    language: str = _option(
        "auto",
        "window",
        "language of the window: `auto` (the system's), `en`, `fi`, `sv` (L)",
        choices=("auto", "en", "fi", "sv"),
    )
    labels: str = _option(
        "age,expression",
        "window",
        "what labels say about a person: `age`, `expression`, `gender`, separated by commas; files always "
        "have all three",
        metavar="WORDS",
    )
    output: Path | None = _option(
        None,
        "data out",
        "annotated video with the file's own sound, frames at their own times (`.mp4`, `.mkv`, `.mov`: H.264, `.webm`: VP9); "
        "of a picture an annotated picture (`.jpg`, `.png`, `.webp`)",
        metavar="OUT.mp4",
        example="annotated.mp4",
    )
    results: Path | None = _option(
        None,
        "data out",
        "one line per frame with everybody in it (`.jsonl`); as `.csv` or `.parquet` one row per person and frame; `-`: lines "
        "to standard output",
        metavar="RESULTS.jsonl",
        example="results.jsonl",
    )
    events: Path | None = _option(
        None,
        "data out",
        "a line when a person enters, and one when they leave, with how long they stayed; appended to the file",
        metavar="EVENTS.jsonl",
        example="events.jsonl",
    )
    metrics: str | None = _option(
        None,
        "data out",
        "figures for Prometheus at `http://HOST:PORT/metrics`: counts and times",
        metavar="HOST:PORT",
        example="127.0.0.1:9108",
    )
    metrics_public: bool = _option(False, "data out", "allow an address for `--metrics` that other machines can reach")
    mqtt: str | None = _option(
        None,
        "data out",
        "tell an MQTT broker how many people come, are there and go (`mqtt://`, or `mqtts://` with TLS; the path begins the "
        "topics); nothing about one person; needs `pip install -r requirements-mqtt.txt`",
        metavar="URL",
        example="mqtts://broker.example/museum/door",
    )
    home_assistant: bool = _option(False, "data out", "let Home Assistant find the figures of `--mqtt` by itself")
    webhook: str | None = _option(
        None,
        "data out",
        "POST the same as JSON to this address (`https://`, or `http://` unencrypted)",
        metavar="URL",
        example="https://host.example/kiosk",
        hidden_path=True,
    )
    log: Path | None = _option(
        None,
        "data out",
        "the latency log that `replay` reads: no pixels, nothing about a person",
        metavar="LATENCY.jsonl",
        example="latency.jsonl",
    )

    privacy: str = _option(
        "none",
        "privacy",
        "`blur` or `pixelate` every face found, in window and video; `aggregate`: no picture and no single person, only "
        "counts, in every output",
        choices=("none", "blur", "pixelate", "aggregate"),
    )
    notice: str | None = _option(
        None,
        "privacy",
        "what visitors are told in the window: a text, or a `.txt` file with it; `off`: nothing",
        metavar="TEXT",
        default_text="that a computer guesses, and whether it keeps anything",
        example="A camera estimates ages here. Nothing is stored.",
    )

    beside: tuple[str, ...] = ()  # further cameras of the same run

    def __post_init__(self) -> None:
        for option in options():
            if (value := getattr(self, option.name)) is not None:
                option.check(value)
        if self.target_fps is not None and self.budget_ms is not None:
            raise UsageError("give --target-fps or --budget-ms, not both: each sets the time that a frame may take")
        self._check_cameras()
        if not SIZE.fullmatch(self.camera_size):
            raise UsageError(f"--camera-size is WIDTHxHEIGHT in pixels, as 1280x720, got {self.camera_size[:80]!r}")
        if not set(self.told) <= set(WORDS):
            raise UsageError(f"--labels takes {', '.join(WORDS)} with commas between, got {self.labels[:80]!r}")
        if self.pin is not None and not PIN.fullmatch(self.pin):
            raise UsageError("--pin is 4 to 8 digits, as 4711")
        if self.profile and self.recalibrate:
            raise UsageError("give --profile or --recalibrate, not both")
        if self.profile and any(same_file(Path(self.profile), path) for path in self.written.values()):
            raise UsageError(f"{self.profile} is the profile and would be overwritten: choose another output file")
        if self.wait_for_source and self.plays_demo:
            raise UsageError(
                f"--wait-for-source waits for a camera or stream, not for {self.source}: name one as --source 0"
            )
        if self.home_assistant and not self.mqtt:
            raise UsageError("--home-assistant needs --mqtt: give the broker, as --mqtt mqtts://HOST/kiosk")
        if not self.source:
            raise UsageError("--source is empty: give demo, a camera's number, a file or a URL")
        if wrong := [name for name, p in self.written.items() if str(p) == STDOUT and name != "results"]:
            raise UsageError(f"--{wrong[0]} needs a file name: only --results may go to standard output as -")
        paths = [p for p in self.written.values() if str(p) not in (os.devnull, STDOUT)]
        if any(same_file(a, b) for a, b in itertools.combinations(paths, 2)):
            raise UsageError(f"{' and '.join(f'--{name}' for name in self.written)} must be different files")
        sources = [Path(source.removeprefix("file://")) for source in self.cameras]
        if source := next((p for p in paths if any(same_file(s, p) for s in sources)), None):
            raise UsageError(f"{source} is the source and would be overwritten: choose another output file")
        if self.loop and paths and self.show is False and not self.realtime and not self.plays_demo:
            raise UsageError(
                "--loop over a file without a window or --realtime would never end and fill the disk: leave out --loop"
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """All sources that run together."""
        return (self.source, *self.beside)

    def _check_cameras(self) -> None:
        if not self.beside:
            return
        if len(self.cameras) > MOST_CAMERAS:
            raise UsageError(f"at most {MOST_CAMERAS} cameras run together, got {len(self.cameras)}: use several runs")
        if self.output and CAMERA not in str(self.output):
            raise UsageError(
                f"--output {self.output} would be written by each of {len(self.cameras)} cameras: put {CAMERA} into it, as in "
                f"--output '{CAMERA}{self.output.suffix}'"
            )
        if self.home_assistant:
            raise UsageError("--home-assistant takes one camera: leave it out; --mqtt has topics for each of several")

    @property
    def plays_demo(self) -> bool:
        """The demo crowd, or a camera with the demo in its place."""
        return self.source in ("auto", "demo") or self.source.startswith("demo:")

    @property
    def camera_pixels(self) -> tuple[int, int]:
        width, height = self.camera_size.lower().split("x")
        return int(width), int(height)

    @property
    def told(self) -> tuple[str, ...]:
        """What labels tell of a person."""
        return tuple(word.strip() for word in self.labels.split(","))

    @property
    def keeps(self) -> bool:
        """Whether anything about people is written or sent."""
        return any((self.output, self.results, self.events, self.mqtt, self.webhook))

    @property
    def written(self) -> dict[str, Path]:
        """The files that the run writes, by setting."""
        return {o.name: path for o in options() if o.kind is Path and (path := getattr(self, o.name))}

    @property
    def frame_budget_ms(self) -> float:
        """From a frame's birth to its result."""
        if self.budget_ms is not None:
            return self.budget_ms
        return 1000 / (self.target_fps or DEFAULT_FPS)


@lru_cache(maxsize=1)
def options() -> tuple[Option, ...]:
    """Everything that can be set, in the order of the help."""
    hints = typing.get_type_hints(Settings)
    return tuple(
        Option(
            name=f.name,
            kind=(typing.get_args(hints[f.name]) or (hints[f.name],))[0],
            default=f.default,
            **f.metadata["option"],
        )
        for f in dataclasses.fields(Settings)
        if f.metadata
    )


def resolved(path: Path) -> Path:
    """Raises UsageError for what cannot be a path."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, too long a name, a loop of links
        raise UsageError(f"{str(path)[:200]!r} is not a usable path: {error}") from error


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file: by a link, a hard link, or letters of another case where the disk sees none.

    Raises UsageError for what cannot be a path.
    """
    if resolved(a) == resolved(b):
        return True
    try:
        return a.samefile(b)
    except (OSError, ValueError):  # one of them is not there
        return False


def cache_folder() -> Path:
    """Where profiles are remembered: times of this machine, nothing about a person."""
    import platformdirs

    return Path(platformdirs.user_cache_dir(APP_NAME))
