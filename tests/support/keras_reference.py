"""What Keras computes with the networks that we rebuilt, as a small file that the tests compare with.

    pip install keras h5py && KERAS_BACKEND=torch python -m tests.support.keras_reference    # or jax, with jax installed

Weights are made by rule from their names, so that none need be kept: `ruled` gives the same arrays here and in the tests.
The script also loads files that Keras itself wrote and prints the largest difference over all values of all blocks.
"""

from __future__ import annotations

import re
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parent / "golden" / "keras_backbones.npz"
SAMPLES = 48
#: Odd sizes, and even ones that become odd inside; 299 and 224 are what the weights were trained at.
SIZES = {
    "mobilenet_v1": (80, 96, 224),
    "resnet50": (96, 97, 224),
    "inception_v3": (96, 97, 299),
}
#: Keras' names of the block outputs.
BLOCKS = {
    "mobilenet_v1": [f"conv_pw_{k}_relu" for k in range(1, 14)],
    "resnet50": [f"conv{s}_block{k}_out" for s, n in ((2, 3), (3, 4), (4, 6), (5, 3)) for k in range(1, n + 1)],
    "inception_v3": [f"mixed{k}" for k in range(11)],
}


def ruled(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The array of that name ("layer/part") and shape: random, and such that signals neither die nor explode."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    part = name.rpartition("/")[2]
    low, high = {
        "gamma": (0.1, 0.4) if re.search(r"_block\d+_[03]_bn", name) else (0.7, 1.3),
        "moving_variance": (0.5, 1.5),
        "moving_mean": (-0.2, 0.2),
        "beta": (-0.3, 0.3),
        "bias": (-0.1, 0.1),
    }.get(part, (-1, 1))
    values = rng.random(shape) * (high - low) + low
    if part == "depthwise_kernel" or (part == "kernel" and "conv_dw" in name):
        values *= np.sqrt(6 / 9)
    elif part == "kernel":
        values *= np.sqrt((4.5 if name.startswith("conv2d_") else 6) / np.prod(shape[:-1]))
    if name == "conv1_conv/kernel":
        values /= 70  # its input is in units of 0..255
    return values.astype(np.float32)


def picture(size: int) -> NDArray[np.float32]:
    """(1, size, size, 3) RGB in [-1, 1]: noise, every pixel of its own, so that no shift goes unnoticed."""
    return (np.random.default_rng(size).random((1, size, size, 3)) * 2 - 1).astype(np.float32)


def sample(values: NDArray, key: str) -> NDArray[np.float32]:
    """SAMPLES values of an (h, w, c) array: four corners, where padding shows, and random places."""
    h, w, c = values.shape
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    y = np.r_[0, 0, h - 1, h - 1, rng.integers(0, h, SAMPLES - 4)]
    x = np.r_[0, w - 1, 0, w - 1, rng.integers(0, w, SAMPLES - 4)]
    return values[y, x, rng.integers(0, c, SAMPLES)]


def canonical(layer: str, layers: list[str]) -> str:
    """Keras counts unnamed layers over the whole process; here they count from 0."""
    match = re.fullmatch(r"(conv2d|batch_normalization)(?:_\d+)?", layer)
    if not match:
        return layer
    number = lambda name: int((re.search(r"_(\d+)$", name) or [0, 0])[1])  # noqa: E731
    alike = sorted((n for n in layers if re.fullmatch(rf"{match[1]}(_\d+)?", n)), key=number)
    return f"{match[1]}_{alike.index(layer)}"


def main() -> None:
    import h5py
    import keras
    import torch
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    from models.networks.backbones import build_backbone
    from models.networks.keras_weights import load_keras_weights

    made = {
        "mobilenet_v1": (lambda **k: keras.applications.MobileNet(alpha=0.25, **k), {"alpha": 0.25}, None),
        "resnet50": (keras.applications.ResNet50, {}, keras.applications.resnet.preprocess_input),
        "inception_v3": (keras.applications.InceptionV3, {}, None),
    }
    golden: dict[str, NDArray] = {}
    for name, (make, options, preprocess) in made.items():
        own = build_backbone(name, **options).eval()
        for top in (True, False):
            model = make(weights=None, include_top=top, **({} if top else {"input_shape": (None, None, 3)}))
            layers = [layer.name for layer in model.layers]
            listed = []
            for layer in model.layers:
                for weight in layer.weights:
                    key = f"{canonical(layer.name, layers)}/{weight.name}"
                    weight.assign(ruled(key, tuple(weight.shape)))
                    listed.append(f"{key} {','.join(map(str, weight.shape))}")
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "weights.h5"
                with h5py.File(path, "w") as file:
                    save_weights_to_hdf5_group(file, model)
                left = load_keras_weights(own, path)
            print(f"{name}, {'whole' if top else 'no top'}: {len(left)} of our arrays not in Keras' file")
            if top:
                golden[f"{name}/weights"] = np.array(listed)
        taps = keras.Model(model.input, [model.get_layer(block).output for block in BLOCKS[name]])
        for size in SIZES[name]:
            x = picture(size)
            given = preprocess(((x + 1) * 127.5).copy()) if preprocess else x
            expected = [keras.ops.convert_to_numpy(t) for t in taps(given, training=False)]
            worst, features = 0.0, torch.from_numpy(x).permute(0, 3, 1, 2)
            with torch.inference_mode():
                features = own.stem(features)
                for k, (block, theirs) in enumerate(zip(own.blocks, expected, strict=True), start=1):
                    features = block(features)
                    mine = features[0].permute(1, 2, 0).numpy()
                    if mine.shape != theirs[0].shape:
                        sys.exit(f"{name} {size} px, block {k}: {mine.shape}, Keras has {theirs[0].shape}")
                    worst = max(worst, float(np.abs(mine - theirs[0]).max()))
                    golden[f"{name}/{size}/{k}"] = sample(theirs[0], f"{name}/{size}/{k}")
            spread = np.abs(expected[-1])
            print(f"{name} {size} px: largest difference {worst:.2g}; last features up to {spread.max():.3g}")
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **golden)
    print(f"wrote {GOLDEN}, {GOLDEN.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
