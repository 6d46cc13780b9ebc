"""By default nothing about a person is written or sent anywhere: a real run under watch.

Watched are Python's own audit events (open for writing, sockets, processes, changes of folders), where there is strace every
system call of those kinds (libraries that open files themselves are seen there only), and every folder that a program
may think of writing to, before and after. The one thing allowed is the remembered latency profile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.support.hooks import served
from tests.support.paths import ROOT

WATCH = r"""
import json, os, sys
out = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGES = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "subprocess.Popen",
           "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.exec", "os.posix_spawn",
           "os.system", "sqlite3.connect", "shutil.copyfile", "urllib.Request")
def watch(event, args):
    if event in CHANGES or (event == "open" and args[2] & WRITING):
        os.write(out, (json.dumps([event, *map(str, args)]) + "\n").encode())
sys.addaudithook(watch)
sys.path.insert(0, os.getcwd())
from app.cli import main
sys.exit(main(sys.argv[1:]))
"""
RUN = ["run", "--exit", "exit_13", "--threads", "1"]
# The demo crowd goes on for 40 s; this ends once a face was read.
DEMO = """
from app.reports.summary import summary
from app.compose import build
from app.settings import Settings
pipeline = build(Settings(source="demo", show=False, exit="exit_13", threads=1)).pipeline
pipeline.start()
while not pipeline.totals.read and not pipeline.wait(0.05):
    pass
pipeline.close()
print(*summary(pipeline.totals, 0.0, 66.0), sep="\\n")
"""
CALLS = "openat,open,creat,connect,bind,sendto,sendmsg,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,memfd_create"


@pytest.fixture
def clip(tmp_path) -> Path:
    """A face for ten frames."""
    from skimage.data import astronaut

    image = cv2.resize(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR), (320, 320))
    (tmp_path / "media").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "media" / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 320))
    for _ in range(10):
        writer.write(image)
    writer.release()
    return tmp_path / "media" / "clip.avi"


@pytest.fixture
def home(tmp_path) -> Path:
    for name in ("home", "tmp", "cache", "config", "data", "state", "runtime"):
        (tmp_path / "watched" / name).mkdir(parents=True)
    (tmp_path / "watched" / "runtime").chmod(0o700)
    return tmp_path / "watched"


def environment(home: Path) -> dict[str, str]:
    ours = {
        k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLCONFIGDIR", "TMP", "TEMP")
    }
    folders = {f"XDG_{n.upper()}_HOME": str(home / n) for n in ("cache", "config", "data", "state")}
    places = {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp"), "XDG_RUNTIME_DIR": str(home / "runtime")}
    return ours | folders | places | {"PYTHONDONTWRITEBYTECODE": "1", "QT_QPA_PLATFORM": "offscreen"}


def snapshot(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file; not of what tools beside this run keep in the checkout."""
    tools = {".git", ".venv", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", "__pycache__"}
    kept = (p for folder in folders for p in folder.rglob("*") if p.is_file() and not tools & set(p.parts))
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in kept}


def watched_run(command: list[str], home: Path) -> None:
    done = subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^faces +[1-9]\d* in all frames, [1-9]", done.stdout, re.MULTILINE), done.stdout
    assert not re.search(r"male|angry|disgust|fear|happy|neutral|sad|surprise|years", done.stdout + done.stderr)


def is_profile(path: str, home: Path) -> bool:
    return path.startswith(str(home / "cache" / "elastic-faces"))


def check_folders(before: dict, after: dict, home: Path) -> None:
    changed = {p for p in after if before.get(p) != after[p]} | (before.keys() - after.keys())
    for path in changed:
        assert is_profile(str(path), home), f"{path} was written"
        content = json.loads(path.read_text())
        # Times of this machine and figures of the network: small, and no field that could hold anything of a person.
        assert set(content) <= {"type", "schema", "created", "machine", "model", "provider", "threads", "profile"}
        assert set(content["profile"]) - {"points"} <= {
            "buckets",
            "tail",
            "tails",
            "padded",
            "blank_mae",
            "blank_error",
        }
        fields = {"exit", "size", "median_ms", "mae", "error", "tail", "age_error", "gender_error", "expression_error"}
        assert {k for p in content["profile"]["points"] for k in p} <= fields
        assert path.stat().st_size < 100_000


@pytest.mark.parametrize("window", ["--no-show", "--show"])
def test_python_opens_no_file_and_no_socket_but_the_profile(clip, home, tmp_path, window):
    if window == "--show":
        from app.window.display import why_no_display

        if reason := why_no_display({"QT_QPA_PLATFORM": "offscreen"}):
            pytest.skip(reason)
    log = tmp_path / "events"
    before = snapshot(home, ROOT, clip.parent)
    watched_run([sys.executable, "-c", WATCH, str(log), *RUN, "--source", str(clip), window], home)
    check_folders(before, snapshot(home, ROOT, clip.parent), home)
    for event, *args in map(json.loads, log.read_text().splitlines()):
        allowed = args[0] == os.devnull or any(is_profile(a, home) for a in args[:2])
        # Looks for missing libraries (`ldd`) before Qt would abort for want of them.
        allowed |= event == "subprocess.Popen" and args[0].endswith("ldd")
        assert allowed, (event, args)


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("strace"), reason="needs strace (apt-get install strace)"
)
@pytest.mark.parametrize("source", ["clip", "demo"])
def test_no_library_writes_or_sends_anything_either(clip, home, tmp_path, source):
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "300", "-e", f"trace={CALLS}", "-o", str(trace)]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("processes may not be traced here")
    before = snapshot(home, ROOT, clip.parent)
    program = [str(ROOT / "main.py"), *RUN, "--source", str(clip), "--no-show"] if source == "clip" else ["-c", DEMO]
    watched_run([*command, sys.executable, *program], home)
    check_folders(before, snapshot(home, ROOT, clip.parent), home)
    bad = []
    for line in trace.read_text(errors="replace").splitlines():
        call = line.partition(" ")[2].strip()
        name, quoted = call.partition("(")[0], re.findall(r'"((?:[^"\\]|\\.)*)"', call)
        if name.startswith("open") and not re.search(r"O_(WRONLY|RDWR|CREAT|APPEND|TRUNC)", call):
            continue
        if "ENOENT" in call or "resumed>" in call or not name.isidentifier():
            continue
        if quoted and (is_profile(quoted[0], home) or quoted[0] == os.devnull):
            continue
        # Semaphores of Python's multiprocessing, which tqdm makes one of: a counter, unlinked at once.
        if any(q.startswith(("/dev/shm/sem.", "/dev/shm/")) and "sem" in q for q in quoted):
            continue
        # With live sources pixels go from one process to the other in shared memory: this account's alone, removed at the end.
        # It is opened once more to reserve its pages, which fails in words where there is no room.
        if re.search(r'"/dev/shm/psm_\w+", O_RDWR\|((O_CREAT\|O_EXCL\|)?O_NOFOLLOW\|)?O_CLOEXEC(, 0600)?\)', call):
            continue
        bad.append(call)
    assert not bad
    shared = set(re.findall(r'"/dev/shm/(psm_\w+)"', trace.read_text(errors="replace")))
    assert not shared & {p.name for p in Path("/dev/shm").iterdir()}, "pixels were left behind"
    assert bool(shared) == (source == "demo"), "only live sources need it"


def test_the_watch_sees_what_is_written(clip, home, tmp_path):
    """With --results the very same watch finds it."""
    log = tmp_path / "events"
    results = tmp_path / "r"
    arguments = [*RUN, "--source", str(clip), "--no-show", "--results", str(results)]
    watched_run([sys.executable, "-c", WATCH, str(log), *arguments], home)
    assert any(
        event == "open" and args[0] == str(results) for event, *args in map(json.loads, log.read_text().splitlines())
    )


def test_a_webhook_goes_to_its_address_alone_and_tells_nothing_about_one_person(clip, home, tmp_path):
    log = tmp_path / "events"
    before = snapshot(home, ROOT, clip.parent)
    with served() as (port, came):
        arguments = [*RUN, "--source", str(clip), "--no-show", "--webhook", f"http://127.0.0.1:{port}/hush"]
        watched_run([sys.executable, "-c", WATCH, str(log), *arguments], home)
    check_folders(before, snapshot(home, ROOT, clip.parent), home)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    addresses = {args[-1] for event, *args in events if event in ("socket.connect", "socket.sendto", "socket.bind")}
    assert addresses == {f"('127.0.0.1', {port})"}
    assert {event for event, *args in events if event == "socket.getaddrinfo" and "127.0.0.1" not in args[0]} == set()
    assert [body["type"] for _, _, body in came] == ["enter", "leave", "summary"]
    assert not re.search(r"male|angry|disgust|fear|happy|neutral|sad|surprise|[\d.]{4,} years", json.dumps(came))
    assert all(body.get("ages") is None and "id" not in body and "box" not in body for _, _, body in came)


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("strace"), reason="needs strace (apt-get install strace)"
)
def test_crops_go_to_the_server_alone(clip, home, tmp_path):
    """gRPC opens its sockets past Python, so system calls are watched: it connects to the server, and to nobody else."""
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient: pip install -r requirements-server.txt")
    from app.compose import load_manifest
    from app.network.onnx_cpu import CpuEngine
    from models.manifest import DEFAULT_MODEL
    from tests.support.kserve import KServe

    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace)]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("processes may not be traced here")
    manifest = load_manifest(DEFAULT_MODEL)
    server = KServe(manifest, CpuEngine(manifest, 1, exits=["exit_13"]))
    before = snapshot(home, ROOT, clip.parent)
    try:
        run = [*RUN, "--source", str(clip), "--no-show", "--server", f"grpc://127.0.0.1:{server.port}"]
        watched_run([*command, sys.executable, str(ROOT / "main.py"), *run], home)
    finally:
        server.kill()
    check_folders(before, snapshot(home, ROOT, clip.parent), home)
    places = set(re.findall(r"sin6?_port=htons\((\d+)\)", trace.read_text(errors="replace")))
    assert places == {str(server.port)}
    assert len(server.asked) > 1 and {a.model.rpartition("-")[0][-7:] for a in server.asked} == {"exit_13"}
