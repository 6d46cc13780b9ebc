"""Pictures of high dynamic range as a screen of today shows them.

PQ (SMPTE ST 2084) and HLG (ITU-R BT.2100) code light up to 10,000 nits in the wide colours of BT.2020. What they call
white, 203 nits (ITU-R BT.2408), becomes white here: a face, which is darker than that, looks as in ordinary video.
Brighter light bends towards white above 0.8 of it and stops there. Colours outside sRGB are cut off.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Image

PQ, HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
WHITE_NITS, HLG_PEAK_NITS, HLG_GAMMA = 203.0, 1000.0, 1.2
KNEE = 0.8
STEPS = 4096  # of the tables; 10 and 12 bits are what cameras deliver

# BT.2020 to BT.709 primaries, both with the white of D65 (ITU-R BT.2087), for columns of R, G, B.
TO_SRGB = np.float32(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
LUMA_2020 = np.float32([[0.2627, 0.6780, 0.0593]])


def tone_mapped(rgb: NDArray[np.uint16], transfer: int) -> Image:
    """(h, w, 3) of full-range 16-bit R, G, B in BT.2020 and PQ or HLG, as BGR."""
    light = _to_light(transfer)[rgb >> 4]
    if (
        transfer == HLG
    ):  # its curve is of the camera's light; what a screen shows depends on the brightness of all three
        luma = np.maximum(cv2.transform(light, LUMA_2020), 1e-6)
        light *= (luma ** (HLG_GAMMA - 1) * (HLG_PEAK_NITS / WHITE_NITS))[..., None]
    light = cv2.transform(light, TO_SRGB).clip(0, 1.999)
    # Square root: the table's steps are then about as fine as the eye is, in the dark too.
    srgb = _to_srgb()[(np.sqrt(light) * (STEPS / np.sqrt(2))).astype(np.uint16)]
    return np.ascontiguousarray(srgb[..., ::-1])


@lru_cache(maxsize=2)
def _to_light(transfer: int) -> NDArray[np.float32]:
    """Code values to light: for PQ that of the screen, 1 being white; for HLG that of the scene, 1 being its peak."""
    code = np.linspace(0, 1, STEPS)
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return (nits / WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@lru_cache(maxsize=1)
def _to_srgb() -> NDArray[np.uint8]:
    """The square root of light, of 0 to 2 in STEPS steps, to sRGB."""
    light = (np.arange(STEPS + 1) / STEPS) ** 2 * 2
    light = np.where(light <= KNEE, light, KNEE + (1 - KNEE) * (1 - np.exp(-(light - KNEE) / (1 - KNEE))))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)
