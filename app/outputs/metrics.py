"""Figures of a run for Prometheus, in base units; counts and times only, nothing that belongs to one person.

Whatever a scrape can read off the run's own counters is read then; only histograms are filled frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from app.domain import DropCause, SourceState
from app.errors import OutputError, UsageError
from app.outputs.address import is_local

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from app.domain import Result, Stats
    from app.outputs.sender import Sender
    from app.sources.source import Source
    from app.totals import Totals
    from scheduler.latency import LatencyModel

PREFIX = "elastic_faces_"
# From a network that takes a millisecond to a frame that is a second late; 1/15, 1/25, 1/30 and 1/60 s lie on a border.
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 1 / 60, 0.025, 1 / 30, 0.04, 0.05, 1 / 15, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class Counted(Protocol):
    """What is counted of a camera; its name is "" where it is the only one."""

    name: str
    source: Source
    totals: Totals


def parse_address(text: str, *, public: bool) -> tuple[str, int]:
    """(host, port) of "HOST:PORT" or "PORT". Raises UsageError, also where others could reach it and `public` is false."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise UsageError(f"--metrics must be HOST:PORT such as 127.0.0.1:9108, got {text[:80]!r}")
    if not public and not is_local(host):
        raise UsageError(
            f"--metrics {text[:80]}: other machines could read the figures at this address. "
            "Use 127.0.0.1, or add --metrics-public"
        )
    return host, int(port)


class Metrics:
    """A sink, and the server that answers at http://HOST:PORT/metrics from the start. Port 0 takes any free one."""

    def __init__(self, host: str, port: int) -> None:
        """Raises OutputError where the address cannot be had."""
        from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server

        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._age_s = Histogram(
            f"{PREFIX}frame_age_seconds",
            "From a frame's birth to its result",
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._network_s = Histogram(
            f"{PREFIX}network_seconds", "The network, frames with faces", buckets=BUCKETS_S, registry=self._registry
        )
        self.newest: dict[str, Stats] = {}  # of each camera
        self.senders: Sequence[Sender] = ()
        try:
            self._server, self._thread = start_http_server(port, host, self._registry)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"metrics cannot be served at {host}:{port}: {reason}. Choose another port, or end what uses it"
            ) from error
        self.address = f"{host}:{self._server.server_port}"

    def watch(self, totals: Totals, latency: LatencyModel, cameras: Sequence[Counted], about: dict[str, str]) -> None:
        """Adds what a scrape reads for itself: the run's counters, and `about` as labels of one constant."""
        self._registry.register(_Run(self, totals, latency, cameras, about))

    def deliver(self, result: Result) -> None:
        self.newest[result.frame.camera] = result.stats
        self._age_s.observe(result.stats.frame_age_ms / 1e3)
        if result.stats.exit:
            self._network_s.observe(result.stats.measured_ms / 1e3)

    def close(self) -> None:
        """May be called twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


class _Run:
    """A collector over the run's own counters."""

    def __init__(
        self,
        metrics: Metrics,
        totals: Totals,
        latency: LatencyModel,
        cameras: Sequence[Counted],
        about: dict[str, str],
    ) -> None:
        self._metrics, self._totals, self._latency, self._cameras, self._about = (
            metrics,
            totals,
            latency,
            cameras,
            about,
        )

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        def counter(name: str, text: str, values: dict[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> Any:
            family = CounterMetricFamily(PREFIX + name, text, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            return family

        totals, newest = self._totals, dict(self._metrics.newest)
        drops, exits = dict(totals.drops), dict(totals.exits)  # copies: the run goes on meanwhile
        yield InfoMetricFamily(PREFIX + "run", "What runs", value=self._about)
        yield counter("frames", "Frames with a result", {(): totals.frames})
        yield counter("deadline_misses", "Frames whose result came after their deadline", {(): totals.misses})
        yield counter("slow_moments", "Frames with faces while this machine was slower than usual", {(): totals.slow})
        by_cause = {(c.name.lower(),): drops.get(c, 0) for c in DropCause if not c.of_faces}
        yield counter("dropped_frames", "Frames that were not shown or written, by cause", by_cause, ("cause",))
        yield counter("faces", "Faces in all frames", {(): totals.faces})
        yield counter("faces_read", "Faces that went through the network", {(): totals.read})
        by_cause = {(c.name.lower(),): drops.get(c, 0) for c in DropCause if c.of_faces}
        yield counter("unread_faces", "Faces not read in a frame, by cause", by_cause, ("cause",))
        by_exit = {_labels(str(point)): n for point, n in exits.items()}
        yield counter(
            "network_batches",
            "Batches by the operating point that read them, the first of each frame",
            by_exit,
            ("exit", "input_size", "engine"),
        )
        yield counter(
            "unanswered_batches", "Batches that the server of --server did not read in time", {(): totals.unanswered}
        )
        yield counter("source_reconnects", "Times that the source came back", {(): totals.reconnects})
        messages = {(s.name, k): getattr(s, k) for s in self._metrics.senders for k in ("sent", "dropped", "refused")}
        yield counter("messages", "Messages to other systems, by what became of them", messages, ("to", "outcome"))
        up = {c.name: c.source.status().state is not SourceState.LOST for c in self._cameras}
        seen = {name: stats for name, stats in newest.items() if up.get(name)}
        if len(self._cameras) > 1:
            yield from _of_cameras(self._cameras, up, seen)
        gauges = [
            (
                "source_up",
                "1 while pictures come, 0 while the source is lost, or one of several",
                int(all(up.values())),
            ),
            ("slowdown_ratio", "The network's time over its profile, filtered", self._latency.slowdown),
        ]
        if (server := next((s.server for s in newest.values()), None)) is not None:
            gauges.append(("server_up", "1 while the server of --server answers", int(server)))
        if seen:
            budget_ms = next(iter(seen.values())).budget_ms
            gauges += [
                ("faces_in_view", "Faces in the newest frame", sum(s.faces for s in seen.values())),
                ("budget_seconds", "What a frame may take; +Inf: a file has no deadline", budget_ms / 1e3),
                ("frame_rate_hertz", "Results a second, over the last 30", sum(s.fps for s in seen.values())),
            ]
        for name, text, value in gauges:
            yield GaugeMetricFamily(PREFIX + name, text, value=value)


def _of_cameras(cameras: Sequence[Counted], up: Mapping[str, bool], seen: Mapping[str, Stats]) -> Iterator[Any]:
    """The same of each of several cameras."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    frames = CounterMetricFamily(PREFIX + "camera_frames", "Frames with a result, by camera", labels=("camera",))
    misses = CounterMetricFamily(
        PREFIX + "camera_deadline_misses", "Frames whose result came too late, by camera", labels=("camera",)
    )
    ups = GaugeMetricFamily(PREFIX + "camera_up", "1 while its pictures come", labels=("camera",))
    faces = GaugeMetricFamily(PREFIX + "camera_faces_in_view", "Faces in its newest frame", labels=("camera",))
    for one in cameras:
        frames.add_metric((one.name,), one.totals.frames)
        misses.add_metric((one.name,), one.totals.misses)
        ups.add_metric((one.name,), int(up[one.name]))
        if one.name in seen:
            faces.add_metric((one.name,), seen[one.name].faces)
    yield from (frames, misses, ups, faces)


def _labels(point: str) -> tuple[str, str, str]:
    """Exit, input size and engine ("" for ONNX Runtime) of an operating point's name."""
    engine, _, name = point.rpartition("/")
    exit, _, size = name.partition("@")
    return exit, size, engine
