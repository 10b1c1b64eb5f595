"""Signatures estimate the Jaccard index; bands find the pairs; what went has a twin that stayed."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.duplicates import (BINS, SHINGLE, equal_twins, estimated_jaccard, exact_hash, fold, near_twins,
                             shingle_hashes, signatures)


def jaccard(left, right):
    left, right = ({text[start:start + SHINGLE] for start in range(len(text) - SHINGLE + 1)}
                   for text in (left, right))
    return len(left & right) / len(left | right)


def random_text(source, length):
    return "".join(source.choices("abcdefghij klmnop好的是不了", k=length))


def edited(source, text, edits):
    characters = list(text)
    for position in source.sample(range(len(text)), edits):
        characters[position] = "#"
    return "".join(characters)


def test_fold():
    assert fold(" A\tb\n\nÇ　好 ") == "a b ç 好"


def test_exact_hash_is_stable():
    assert exact_hash("好 text") == 0x65ADEBB3C2842B86


@pytest.mark.parametrize("length", [50, 300, 3000])
def test_the_estimate_against_the_exact_jaccard_index(length):
    source = random.Random(length)
    pairs = [(text, edited(source, text, source.randrange(length // 6)))
             for text in (random_text(source, length) for _ in range(300))]
    exact = np.array([jaccard(left, right) for left, right in pairs])
    left, right = (signatures(texts) for texts in zip(*pairs))
    error = estimated_jaccard(left, right) - exact
    assert exact.min() < 0.5 and exact.max() > 0.9
    assert abs(error.mean()) < 0.02  # not biased
    assert np.sqrt((error**2).mean()) < 0.1  # about √(J (1 - J) / 32) = 0.09 at J = 0.5


def test_unrelated_texts_are_estimated_near_nothing():
    source = random.Random(0)
    signature_of = signatures([random_text(source, 200) for _ in range(200)])
    estimates = estimated_jaccard(signature_of[:100], signature_of[100:])
    assert abs(estimates.mean()) < 0.01 and estimates.max() < 0.2


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=6))
def test_a_signature_does_not_depend_on_the_other_texts(texts):
    together = signatures(texts)
    assert together.shape == (len(texts), BINS) and together.dtype == np.uint8
    for text, signature in zip(texts, together):
        np.testing.assert_array_equal(signatures([text])[0], signature)
        assert signature.any() or len(text) < SHINGLE


def test_a_text_longer_than_a_chunk_has_the_least_hash_of_each_bin():
    text = random_text(random.Random(1), 200_000)
    hashes = np.unique(shingle_hashes(np.frombuffer(text.encode("utf-32-le"), np.uint32)))
    assert len(hashes) == len({text[start:start + SHINGLE] for start in range(len(text) - SHINGLE + 1)})
    bins, values = hashes >> np.uint64(59), (hashes >> np.uint64(26)).astype(np.uint32)
    least = [values[bins == number].min() % 256 for number in range(BINS)]
    np.testing.assert_array_equal(signatures([text])[0], least)


def test_no_text_has_no_signature():
    assert signatures([]).shape == (0, BINS)


def test_equal_twins():
    hashes = np.array([7, 3, 7, 9, 3, 7], np.uint64)
    np.testing.assert_array_equal(equal_twins(hashes), [-1, -1, 0, -1, 1, 0])
    assert equal_twins(np.array([], np.uint64)).shape == (0,)


def test_near_twins_keep_the_first_and_only_go_for_one_that_stays():
    base = np.arange(BINS, dtype=np.uint8)
    second, third = base.copy(), base.copy()
    second[-4:] = 200  # 28 of 32 bins equal to the first
    third[-8:-4] = third[-4:] = 200  # 24 equal to the first, 28 to the second
    other = base + 100
    signature_of = np.stack([base, second, third, other])
    numbers = np.arange(4)
    np.testing.assert_array_equal(near_twins(signature_of, numbers, 0.8), [-1, 0, -1, -1])
    np.testing.assert_array_equal(near_twins(signature_of, numbers[1:], 0.8), [-1, -1, 1, -1])
    np.testing.assert_array_equal(near_twins(signature_of, numbers, 0.8, protected=2), [-1, -1, 1, -1])
    assert (near_twins(signature_of, numbers[:0], 0.8) == -1).all()


def test_texts_that_share_no_band_are_no_candidates():
    left = np.arange(BINS, dtype=np.uint8)
    right = left.copy()
    right[::4] = 255  # 24 bins are equal, but a bin of each band is not
    assert (near_twins(np.stack([left, right]), np.arange(2), 0.6) == -1).all()
    right[0] = left[0]
    np.testing.assert_array_equal(near_twins(np.stack([left, right]), np.arange(2), 0.6), [-1, 0])


def test_a_thousand_copies_of_a_template_and_two_thousand_others():
    source = random.Random(2)
    template = random_text(source, 400)
    texts = [random_text(source, 400) for _ in range(2000)]
    texts += [edited(source, template, 1) for _ in range(1000)]
    order = source.sample(range(3000), 3000)
    twins = near_twins(signatures([texts[number] for number in order]), np.arange(3000), 0.8)
    copies = np.array(order) >= 2000
    assert (twins[~copies] == -1).all()
    assert (twins[copies] >= 0).mean() > 0.98  # J is about 0.95 between copies
    assert (twins[twins[twins >= 0]] == -1).all()


def test_recall_and_precision_of_planted_edits():
    source = random.Random(3)
    originals = [random_text(source, 600) for _ in range(1000)]
    copies = [edited(source, text, source.randrange(60)) for text in originals]
    exact = np.array([jaccard(left, right) for left, right in zip(originals, copies)])
    found = near_twins(signatures(originals + copies), np.arange(2000), 0.8)[1000:] == np.arange(1000)
    assert found[exact > 0.9].mean() > 0.9
    assert found[exact < 0.6].mean() < 0.03
    assert 0.8 < exact[found].mean()
