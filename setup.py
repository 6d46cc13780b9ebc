"""For `pip install .`: the rooms go into one package, so that no `app` or `models` lands among other people's packages."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("app", "models", "align", "scheduler")


def requirements(path: str) -> list[str]:
    """What a requirements file names itself, without comments and other files."""
    lines = (line.split(" #")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


inside = find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")])
setup(
    packages=["elastic_faces", "elastic_faces.rooms", *(f"elastic_faces.rooms.{name}" for name in inside)],
    package_dir={
        "elastic_faces": "deploy/elastic_faces",
        "elastic_faces.rooms": ".",
        **{f"elastic_faces.rooms.{room}": room for room in ROOMS},
    },
    package_data={
        "elastic_faces.rooms": ["requirements.txt", "LICENSE"],
        "elastic_faces.rooms.align": ["*.json", "weights/*"],
        "elastic_faces.rooms.app.overlay": ["translations/*"],
        "elastic_faces.rooms.app.sources.figures": ["*.toml", "*.png"],
        "elastic_faces.rooms.models": ["requirements.txt", "configs/*", "weights/*"],
        "elastic_faces.rooms.models.judging": ["peers.cjs"],
    },
    include_package_data=False,
    install_requires=requirements("requirements.txt"),
    extras_require={
        "training": requirements("models/requirements.txt"),
        "networks": requirements("tests/requirements-networks.txt"),
    },
)
