"""The whole path on real faces and on the demo crowd, with the network that ships."""

from __future__ import annotations

import json
from collections import Counter
from statistics import median

from app.cli import main


def results(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_talking_man_is_found_and_read(talking_clip, tmp_path):
    assert main(["run", "--source", str(talking_clip), "--no-show", "--results", str(tmp_path / "r.jsonl")]) == 0
    frames = results(tmp_path / "r.jsonl")
    assert len(frames) == 62
    found = [max(f["people"], key=lambda p: p["box"][2]) for f in frames if f["people"]]
    assert len(found) >= 55
    assert 22 <= median(p["age"] for p in found if p["age"]) <= 48
    assert Counter(p["gender"] for p in found).most_common(1)[0][0] == "male"
    assert len({p["id"] for p in found}) == 1
    assert all(150 < p["box"][0] < 260 and p["fresh"] for p in found)


def test_the_walking_clip_runs_through(walking_clip, tmp_path):
    assert main(["run", "--source", str(walking_clip), "--no-show", "--results", str(tmp_path / "r.jsonl")]) == 0
    assert len(results(tmp_path / "r.jsonl")) == 35


def test_the_demo_crowd_is_read_person_by_person(tmp_path):
    """Not paced by a clock, so that it is the same on every machine: each tenth second of a cycle of the crowd."""
    from align.crop import crop_batch
    from app.compose import load_manifest, make_front_end
    from app.domain import Frame
    from app.network.calibrate import best_point
    from app.network.onnx_cpu import CpuEngine
    from app.settings import Settings
    from app.sources.demo import CYCLE_FRAMES, DemoCrowd

    manifest, crowd = load_manifest("mobilenet_v1_075"), DemoCrowd()
    point = best_point(manifest)
    engine = CpuEngine(manifest, points=[point])
    front_end = make_front_end(Settings(), manifest.template, live=False)
    faces, truth, genders, ages = 0, 0, Counter(), []
    for i in range(0, CYCLE_FRAMES, 50):
        image = crowd.picture(i)
        prepared = front_end(Frame(i, image, i / 25, 0.0))
        faces, truth = faces + len(prepared.faces), truth + len(crowd.truth(i))
        if prepared.faces:
            for reading in engine.read(point, crop_batch(image, [f.matrix for f in prepared.faces], point.size)):
                genders[manifest.genders[int(reading.gender.argmax())]] += 1
                ages.append(reading.age)
    assert faces >= 0.9 * truth > 50
    assert genders["female"] > 0.8 * sum(genders.values())
    assert 22 < median(ages) < 50  # Eileen Collins was 42 or 43
