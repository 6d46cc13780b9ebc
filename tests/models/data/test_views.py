from __future__ import annotations

import tarfile

import cv2
import numpy as np
import pytest

from align.crop import crop_face
from align.geometry import PAPER_MARGINS, Template, load_mean_shape, to_pixels
from models.data import locate
from models.data import views as data
from models.data.batches import Augmentation, TrainingBatches, crop_matrix, plain_crops
from models.data.sets import base, fer2013, utkface
from tests.support.faces import portrait, write_fer2013, write_utkface


def test_utkface_names_are_labels(tmp_path):
    root = write_utkface(tmp_path / "utk", 3)
    for name in (
        "24_0_1_20170116220224657 .jpg.chip.jpg",
        "25_3_1_20170116220224657.jpg",
        "130_0_1_2017.jpg",
        "116_1_2_20170120.jpg.chip.jpg",
    ):
        cv2.imwrite(str(root / name), portrait(50, 0))
    samples, report = utkface.read_utkface(root)
    assert len(samples) == 4 == report.read
    by_name = {s.path.name: s for s in samples}
    assert by_name["116_1_2_20170120.jpg.chip.jpg"].age == 100
    assert {(s.age, s.gender, s.ethnicity) for s in samples} == {(5, 0, 0), (8, 1, 1), (11, 0, 2), (100, 1, 2)}
    assert sorted(len(names) for names in report.skipped.values()) == [1, 2]
    assert any("skipped 2" in line for line in report.lines())


def test_a_list_limits_the_set_and_must_exist(tmp_path):
    root = write_utkface(tmp_path / "utk", 4)
    names = sorted(p.name for p in root.iterdir())[:2]
    samples, _ = utkface.read_utkface(root, [f"somewhere/{names[0]}\n", names[1], ""])
    assert [s.path.name for s in samples] == names
    with pytest.raises(base.DataError, match=r"nobody\.jpg"):
        utkface.read_utkface(root, ["nobody.jpg"])


def test_fer2013_folders_are_labels(tmp_path):
    root = write_fer2013(tmp_path / "fer", 2)
    (root / "train" / "contempt").mkdir()
    samples, report = fer2013.read_fer2013(root, "train")
    assert len(samples) == 14
    assert [s.expression for s in samples] == [k for k in range(7) for _ in range(2)]
    assert report.skipped == {"unknown expression contempt": ["contempt"]}
    with pytest.raises(base.DataError, match="no folder"):
        fer2013.read_fer2013(root, "test")


def test_empty_folders_say_what_was_looked_for(tmp_path):
    with pytest.raises(base.DataError, match="age_gender_ethnicity"):
        utkface.read_utkface(tmp_path)
    with pytest.raises(base.DataError, match="no folder"):
        utkface.read_utkface(tmp_path / "none")


def test_near_duplicates_share_a_group_and_never_cross_the_split(tmp_path):
    root = tmp_path / "utk"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        picture = cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), (120, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / f"{i}_0_0_1.jpg"), picture)
        again = cv2.resize(picture, (90, 90))[:, :: -1 if i % 2 else 1] * 0.9
        cv2.imwrite(str(root / f"{i}_0_0_2.jpg"), again.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 60])
    samples, _ = utkface.read_utkface(root)
    groups = data.near_duplicates(samples)
    by_age: dict[int, set[int]] = {}
    for sample, group in zip(samples, groups, strict=True):
        by_age.setdefault(sample.age, set()).add(int(group))
    assert all(len(g) == 1 for g in by_age.values()) and len(set(groups.tolist())) == 60
    held_out = data.validation_mask(samples, groups, share=0.3)
    assert 0 < held_out.sum() < len(samples)
    for group in set(groups.tolist()):
        assert len(set(held_out[groups == group].tolist())) == 1
    shuffled = [samples[i] for i in rng.permutation(len(samples))]
    again = data.validation_mask(shuffled, data.near_duplicates(shuffled), share=0.3)
    assert {s.path.name for s, h in zip(shuffled, again, strict=True) if h} == {
        s.path.name for s, h in zip(samples, held_out, strict=True) if h
    }


def test_prepare_aligns_what_it_can_and_names_what_it_cannot(tmp_path):
    root = write_utkface(tmp_path / "utk", 6)
    (root / "30_0_0_99.jpg").write_bytes(b"no picture at all")
    (root / "31_0_0_99.jpg").write_bytes(b"")
    dataset = utkface.read(root)
    report = dataset.report
    data.prepare(dataset, np.arange(len(dataset.samples)) < 2, tmp_path / "out", workers=1)
    views, held_out = data.load_views(tmp_path / "out", "utkface")
    assert len(views) == 6 == len(held_out) and views.pixels.shape == (6, 160, 160, 3)
    assert sorted(report.skipped["not a readable picture"]) == ["30_0_0_99.jpg", "31_0_0_99.jpg"]
    assert (tmp_path / "out" / "utkface.validation.txt").read_text().count("\n") == held_out.sum()
    # One face in six guises: after alignment they are alike, mirrored or not, up to the light.
    flat = [v.astype(float)[40:120, 40:120].ravel() for v in views.pixels]
    flipped = [v[:, ::-1].astype(float)[40:120, 40:120].ravel() for v in views.pixels]
    for one, mirrored in zip(flat[1:], flipped[1:], strict=True):
        assert max(np.corrcoef(flat[0], one)[0, 1], np.corrcoef(flat[0], mirrored)[0, 1]) > 0.9


def test_preparing_is_asked_for_before_training(tmp_path):
    with pytest.raises(base.DataError, match="prepare"):
        data.load_views(tmp_path, "utkface")


def test_a_plain_crop_of_a_view_is_what_align_cuts():
    """Training and kiosk see the same pixels: the view's centre is the template's crop."""
    view, paper = data.view_template().array, Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    for size in (64, 96):
        matrix = crop_matrix(size)
        points = (view * data.VIEW_SIZE - 0.5) @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(points, paper.at(size), atol=0.01)


def test_grey_views_become_three_equal_channels():
    crops = plain_crops(np.random.default_rng(0).integers(0, 256, (2, 160, 160), dtype=np.uint8), 32)
    assert crops.shape == (2, 32, 32, 3) and (crops[..., 0] == crops[..., 2]).all()


def small_views(n: int, colour: bool) -> data.Views:
    rng = np.random.default_rng(n)
    pixels = rng.integers(0, 256, (n, 160, 160) + ((3,) if colour else ()), dtype=np.uint8)
    labels = [rng.integers(-1, 7, n).astype(np.int16) for _ in range(3)]
    return data.Views(pixels, *labels)


def batches(seed: int = 5) -> TrainingBatches:
    parts = [(small_views(7, True), np.arange(1, 7), 3), (small_views(5, False), np.arange(5), 2)]
    return TrainingBatches(parts, {32: 1.0}, seed, Augmentation())


def test_a_batch_depends_on_seed_and_step_alone():
    """Whatever was read before: this is what makes a resumed run the same as an unbroken one."""
    one, two = batches(), batches()
    for step in (0, 9, 3):
        one[step]
    for name, values in two[3].items():
        np.testing.assert_array_equal(one[3][name], values)
    assert not np.array_equal(one[3]["crops"], one[4]["crops"])
    assert not np.array_equal(one[3]["crops"], batches(6)[3]["crops"])


def test_an_epoch_shows_every_face_once_and_none_that_is_held_out():
    made = batches()
    shown = [made._shuffled(0, np.arange(1, 7), i) for i in range(12)]
    assert sorted(shown[:6]) == sorted(shown[6:]) == [1, 2, 3, 4, 5, 6]
    assert made[0]["crops"].shape == (5, 32, 32, 3) and made[0]["age"].shape == (5,)


def test_real_utkface_reads_and_aligns(utkface_tar, tmp_path):
    with tarfile.open(utkface_tar) as archive:
        members = [m for m in archive if m.name.endswith(".jpg")][::800]
        archive.extractall(tmp_path, members, filter="data")
    samples, _ = utkface.read_utkface(tmp_path)
    report = base.Report()
    located = locate.locate_all(samples, utkface.PLACING, workers=1)
    kept = data.cut_views(samples, located, False, tmp_path / "views.npy", report)
    assert len(kept) == len(samples) >= 20
    assert sum(p.found for p in located if p) >= 0.95 * len(samples)


def test_real_fer2013_reads(fer2013_tar, tmp_path):
    with tarfile.open(fer2013_tar) as archive:
        members = [m for m in archive if "/validation/" in m.name and m.name.endswith(".jpg")][::200]
        archive.extractall(tmp_path, members, filter="data")
    samples, report = fer2013.read_fer2013(tmp_path / "fer2013", "validation")
    assert len(samples) == len(members) and not report.skipped
    assert all(base.read_picture(s.path).shape == (48, 48, 3) for s in samples)


def test_a_small_crop_of_a_view_looks_like_the_applications():
    """Both average where a face is larger than the network's input: training sees no pixels that are sharper or coarser."""
    image = portrait(200, 3)
    place = locate.Locator(utkface.PLACING)(image)
    view = crop_face(image, to_pixels(data.view_template().fit(place.landmarks), 200), 200)
    paper = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    for size in (40, 48, 64, 96):
        theirs = crop_face(image, to_pixels(paper.fit(place.landmarks), size), size)
        ours = plain_crops(view[None], size)[0]
        assert np.abs(ours.astype(float) - theirs).mean() < 2.5
        detail = [cv2.Laplacian(c, cv2.CV_64F)[2:-2, 2:-2].std() for c in (ours, theirs)]
        assert detail[0] == pytest.approx(detail[1], rel=0.2), size
