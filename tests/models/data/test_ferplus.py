from __future__ import annotations

import numpy as np
import pytest

from models.data.sets import fer2013, ferplus
from models.data.sets.base import EXPRESSIONS, DataError
from tests.support.faces import write_fer2013

HEAD = "path,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF,fer2013_row,rms,ambiguous"


def counts(**votes: int) -> tuple[int, ...]:
    return tuple(votes.get(name, 0) for name in ferplus.VOTES)


@pytest.mark.parametrize(
    ("votes", "expression", "shares"),
    [
        (counts(anger=10), "angry", {"angry": 1.0}),
        (counts(anger=6, neutral=4), "angry", {"angry": 0.6, "neutral": 0.4}),
        # A single vote is a slip: five of nine are a majority then.
        (counts(neutral=5, sadness=4, fear=1), "neutral", {"neutral": 5 / 9, "sad": 4 / 9}),
        (counts(neutral=5, sadness=5), None, {"neutral": 0.5, "sad": 0.5}),
        (counts(happiness=4, unknown=6), None, {}),
        (counts(NF=10), None, {}),
        (counts(contempt=6, neutral=4), "contempt", {}),
        (counts(contempt=4, neutral=6), "neutral", {"neutral": 1.0}),
    ],
)
def test_votes_become_a_majority_to_judge_by_and_shares_to_train_on(votes, expression, shares):
    best = ferplus.majority(votes)
    assert (None if best < 0 else (*EXPRESSIONS, "contempt")[best]) == expression
    wanted = [shares.get(name, 0.0) for name in EXPRESSIONS]
    assert ferplus.distribution(votes) == pytest.approx(wanted)


def test_pictures_without_votes_are_left_out():
    assert ferplus.majority(None) == -1
    assert not ferplus.distribution(None).any()


def test_votes_are_matched_by_the_pictures_path(tmp_path):
    dataset = fer2013.read(write_fer2013(tmp_path / "fer"))
    one, two, three = dataset.samples[:3]
    lines = [
        f"fer2013/{'/'.join(s.path.parts[-3:])},0,0,0,0,0,8,2,0,0,0,7,2.0,{ambiguous}"
        for s, ambiguous in ((one, 0), (two, 1))
    ]
    (tmp_path / "votes.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    voted = ferplus.with_votes(dataset.samples, dataset.report, tmp_path / "votes.csv")
    assert voted[0].votes == counts(disgust=8, fear=2)
    assert voted[1].votes is None and voted[2].votes is None
    assert dataset.report.notes["without clear votes of FER+"] == len(dataset.samples) - 1
    assert [s.path for s in voted] == [s.path for s in dataset.samples] and three.votes is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no votes"), ("a,b\n1,2\n", "needs the columns"), (HEAD + "\nx,one,0,0,0,0,0,0,0,0,0,1,2.0,0\n", "needs")],
)
def test_a_table_that_is_none_says_what_is_needed(tmp_path, text, says):
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        ferplus.read_votes(tmp_path / "votes.csv")
    with pytest.raises(DataError, match="cannot be read"):
        ferplus.read_votes(tmp_path / "none.csv")


def test_votes_for_other_pictures_are_refused(tmp_path):
    dataset = fer2013.read(write_fer2013(tmp_path / "fer"))
    (tmp_path / "votes.csv").write_text(HEAD + "\nfer2013/train/angry/other.jpg,0,0,0,0,0,8,2,0,0,0,7,2.0,0\n")
    with pytest.raises(DataError, match="none of the"):
        ferplus.with_votes(dataset.samples, dataset.report, tmp_path / "votes.csv")


def test_the_real_table_is_read(ferplus_csv):
    votes = list(ferplus.read_votes(ferplus_csv).values())
    assert len(votes) == 29_251
    assert all(9 <= v.sum() <= 10 for v in votes)
    majorities = np.bincount([ferplus.majority(v) + 1 for v in votes], minlength=9)
    assert majorities[1 + EXPRESSIONS.index("happy")] > 6_000 and majorities[1 + ferplus.CONTEMPT] > 0
