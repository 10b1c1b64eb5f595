"""Questions and texts → rows: offsets against Python's own characters, windows against slices, labels against texts."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batching import encode_examples
from data.questions import Question
from data.tokenizer import CLS, SEP, UNK
from data.vocabulary import _normalized
from data.windows import encode_questions, encode_windows, span_labels

ODD = ("", " ", "the film was wonderful", "这部电影非常好 the film", "ＴＨＥ　ＦＩＬＭ１２", "e\u0301te\u0301 cafe\u0301", "\x00a\x0bb\u200bc\ufefff\x1fd",
       "  the \r\n film…  ½ﬁ¨ ", " 我", "我 爱", "don't “stop”", "❤\ufe0f👍🏽 film", "İstanbul", "x" * 70, "▁ a▁b", "\u0301")


def reference_offsets(tokenizer, text):
    """[start, end) in bytes of every token, from Python's characters: which one each normalised character came from."""
    spaced = " " + text
    normal = [(character, place) for place, raw in enumerate(spaced)
              for character in _normalized(raw, True).replace(" ", "▁")]
    normal = [one for one, following in zip(normal, [*normal[1:], ("▁", 0)]) if not one[0] == following[0] == "▁"]
    ids = tokenizer.encode([text]).to_list()[0]
    pieces = [None if number == UNK else tokenizer.vocabulary[number] for number in ids]
    position = len(normal) - sum(len(piece or "?") for piece in pieces)
    assert position in (0, 1)
    offsets = []
    for piece in pieces:
        part = normal[position : position + len(piece or "?")]
        position += len(part)
        assert piece in (None, "".join(character for character, _ in part))
        inside = [place for character, place in part if character != "▁"]
        places = (inside[0], inside[-1] + 1) if inside else (part[0][1] + 1,) * 2
        offsets.append([len(spaced[:place].encode()) - 1 for place in places])
    return offsets


def offsets_of(tokenizer, texts):
    ids, starts, ends = tokenizer.encode_with_offsets(tf.constant(texts, tf.string))
    assert ids.to_list() == tokenizer.encode(texts).to_list()
    return [[[*pair] for pair in zip(*row)] for row in zip(starts.to_list(), ends.to_list())]


def test_tokens_know_their_bytes(tokenizer):
    assert offsets_of(tokenizer, ODD) == [reference_offsets(tokenizer, text) for text in ODD]
    (offsets,) = offsets_of(tokenizer, ["The  ＦＩＬＭ"])
    pieces = [b"The  \xef\xbc\xa6\xef\xbc\xa9\xef\xbc\xac\xef\xbc\xad"[start:end].decode() for start, end in offsets]
    assert "".join(pieces) == "TheＦＩＬＭ"
    assert offsets_of(tokenizer, tf.constant([], tf.string)) == []


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("the film.'我电影好▁\0…☃\u0301 ＡＢ　\r\n½") | st.characters(codec="utf-8")), max_size=6))
def test_tokens_know_their_bytes_in_random_unicode(tokenizer, texts):
    assert offsets_of(tokenizer, texts) == [reference_offsets(tokenizer, text) for text in texts]


def test_bytes_that_are_not_text_keep_their_places(tokenizer):
    text = b"\xff\xfe the \x80film\xe4\xb8"
    _, starts, ends = tokenizer.encode_with_offsets(tf.constant([text]))
    found = [text[start:end] for start, end in zip(*(row.numpy() for row in (starts[0], ends[0])))]
    assert b"".join(found) == text.replace(b" ", b"")


def test_a_text_that_fits_is_encoded_as_a_pair(tokenizer):
    questions, contexts = ["the film?", "", "这家酒店好吗", "a"], ["the film was wonderful", "这部电影", "", "\r\nthis\nhotel "]
    windows = encode_windows(tokenizer, tf.constant(questions), tf.constant(contexts), 64)
    pairs = encode_examples(tokenizer, tf.constant(questions), tf.constant(contexts), 64, 64)["token_ids"]
    np.testing.assert_array_equal(windows.token_ids, pairs)
    np.testing.assert_array_equal(windows.splits, range(5))
    none = encode_windows(tokenizer, *[tf.constant([], tf.string)] * 2, 64)
    assert none.token_ids.shape == none.places.shape == (0, 1) and none.splits.numpy().tolist() == [0]


@pytest.mark.parametrize("sequence_length", [16, 19, 40])
def test_windows_hold_all_of_a_text(tokenizer, sequence_length):
    words = "the film was wonderful this hotel 这部电影 my new phone".split()
    questions = tf.constant(["the film", "x" * 300, "", "was it wonderful"])
    contexts = tf.constant([" ".join(np.random.default_rng(0).choice(words, count)) for count in (1, 30, 75, 200)])
    windows = encode_windows(tokenizer, questions, contexts, sequence_length)
    asked, told = tokenizer.encode(questions).to_list(), tokenizer.encode(contexts).to_list()
    assert windows.token_ids.shape[1] <= sequence_length
    for number, (question, context) in enumerate(zip(asked, told)):
        question = question[: sequence_length // 4]
        room = sequence_length - 3 - len(question)
        begins = [*range(0, max(len(context) - room, 0), room // 2), max(len(context) - room, 0)]
        rows = slice(*windows.splits[number : number + 2].numpy())
        expected = [[CLS, *question, SEP, *context[begin : begin + room], SEP] for begin in begins]
        found = windows.token_ids[rows].numpy()
        assert [row[row > 0].tolist() for row in found] == expected
        first = windows.text_splits[number].numpy()
        places = windows.places[rows].numpy()
        for begin, row, ids in zip(begins, places, found):
            (where,) = np.nonzero(row >= 0)
            assert (row[where] - first == range(begin, min(begin + room, len(context)))).all()
            assert [context[place] for place in row[where] - first] == ids[where].tolist()


def test_labels_stand_where_the_answer_stands(tokenizer):
    words = [f"{word}{end}" for word in ("The film", "this HOTEL", "这部电影", "ﬁne") for end in (".", ",", "", "!")]
    context = "  ".join(np.random.default_rng(1).choice(words, 40))
    for start, end in ((0, 3), (context.index("HOTEL"), context.index("HOTEL") + 5), (100, 140), (0, 0),
                       (context.rindex("电影"), len(context)), (50, 400)):
        answer = context[start:end].strip()
        start = context.index(answer, start)
        span = [len(context[:place].encode()) for place in (start, start + len(answer))]
        windows = encode_windows(tokenizer, tf.constant(["why?"]), tf.constant([context]), 24)
        labels = span_labels(windows, tf.constant([span], tf.int64)).numpy()
        offsets = np.array(reference_offsets(tokenizer, context))
        inside = np.flatnonzero((offsets[:, 0] < span[1]) & (offsets[:, 1] > span[0]) & (offsets[:, 0] < offsets[:, 1]))
        for label, places in zip(labels, windows.places.numpy()):
            if len(inside) and {inside[0], inside[-1]} <= set(places):
                assert places[label].tolist() == [inside[0], inside[-1]]
            else:
                assert label.tolist() == [0, 0]
        if len(inside) < 8 or len(inside) > 21:  # surely within some window, or in none
            assert (labels > 0).any() == (0 < len(inside) < 8)


def test_questions_become_examples(tokenizer):
    context, done = "The film was wonderful " * 20 + "\ud800 in Paris. " + "The film was wonderful " * 20, []
    start = context.index("Paris")
    questions = [Question("where?", context, ("Paris",), (start, start + 5), ""), Question("why?", context, (), None, "")]
    encoded = encode_questions(tokenizer, questions, 40, done.append)
    assert sum(done) == 2 and len(encoded.labels) == len(encoded) > 4 and max(map(len, encoded.rows)) == 40
    answered = [row[first : last + 1] for row, (first, last) in zip(encoded.rows, encoded.labels) if first]
    assert len(answered) in (1, 2, 3) and len(answered) < len(encoded) / 2
    assert {tokenizer.decode(tf.constant([row])).numpy()[0] for row in answered} == {b"paris"}
    batch = encoded.batch(range(len(encoded)))
    np.testing.assert_array_equal(batch["sample_weight"], np.ones((len(encoded), 2)))
    assert set(np.unique(batch["segment_ids"])) == {0, 1} or set(np.unique(batch["segment_ids"])) == {1}
