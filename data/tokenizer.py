"""Text (tf.string) in, token ids (int32, ragged) out, and back: greedy longest match in TensorFlow ops.

What it does to a batch of texts, all of it at once:
1. the texts are normalised and cut into words, in which ▁ stands for a space (data/words.py);
2. the 50,000 words most frequent in training are looked up in a table word → ids (98 % of the words of
   English reviews; without the table it takes half as long again);
3. in the others, for every position, the longest piece of the vocabulary is found that begins there and stays
   in the word: all positions walk down the tree of pieces together, one character a step;
4. the positions reached from the words' starts, piece after piece, are the tokens (WordPiece with an empty
   continuation prefix; Wu et al. 2016, arXiv:1609.08144, section 4.1). A character of no piece is [UNK]; in a
   vocabulary taken over from BERT (data/wordpiece.py) the whole word is.

One tf.function does it eagerly, in tf.data and inside a SavedModel: there is no second implementation to keep
equal. Sentence pairs, lengths, [CLS] and [SEP] are data/batching.py's, training is data/vocabulary.py's.
"""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from data.words import MARKER, WordSplitter, count_below, ranges

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)

FORMAT_VERSION = 1
SHARED_DEPTH = 5  # step 3 goes on with those few positions that are still walking after so many characters


class Tokenizer(tf.Module):
    """Text ⇄ ids. Made by data.vocabulary.train_tokenizer or Tokenizer.load; never changed afterwards.

    vocabulary: the V pieces, SPECIAL_TOKENS first; vocabulary_size: V; sha256: hex digest of the definition.
    """

    def __init__(self, definition: dict):
        super().__init__()
        self.definition_text = json.dumps(definition, ensure_ascii=False, sort_keys=True)
        self.sha256 = hashlib.sha256(self.definition_text.encode("utf-8")).hexdigest()
        self.lower_case = definition["lower_case"]
        self.vocabulary = list(definition["vocabulary"])
        self.vocabulary_size = len(self.vocabulary)
        self.splitter = WordSplitter(definition)
        self._longest_piece = max(map(len, self.vocabulary[len(SPECIAL_TOKENS) :]), default=1)
        shown = ["" if n in (PAD, CLS, SEP) else token for n, token in enumerate(self.vocabulary)]
        lengths = [len(piece) if n >= len(SPECIAL_TOKENS) else 1 for n, piece in enumerate(self.vocabulary)]
        trie = _double_array(self.vocabulary, self.splitter.table_size)
        with tf.device("CPU"):
            self._shown_pieces = tf.constant(shown)  # (V,)
            self._characters = tf.constant(lengths, tf.int64)  # (V,), that a piece stands for
            self._spaces = tf.constant([piece.startswith(MARKER) for piece in self.vocabulary])  # (V,)
            self._symbols, self._base, self._parent, self._piece, self._length = map(tf.constant, trie)
            words = tf.constant(definition["frequent_words"], tf.string)  # (F,)
            spelling = tf.strings.unicode_decode(words, "UTF-8")
            ids, splits = self._match(spelling.flat_values, spelling.row_splits)
            # Two more words without ids: one for those that are not frequent, one for a ▁ that goes.
            self._not_frequent, self._going = len(words), len(words) + 1
            self._frequent_splits = tf.concat([splits, splits[-1:], splits[-1:]], 0)  # (F + 3,)
            # Behind the last word's ids there is room to read the longest word's.
            self._frequent_ids = tf.concat([ids, tf.zeros([self.splitter.longest_word], tf.int32)], 0)
            keys = self.splitter.keys(spelling.flat_values, spelling.row_splits)
            self._frequent_words = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(words), dtype=tf.int64)), self._not_frequent
            )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def encode(self, texts):
        """tf.string (B,) → tf.RaggedTensor int32 (B, None): ids without [CLS], [SEP] and padding.

        decode(encode(texts)) == normalize(texts) where no character is unknown.
        """
        with tf.device("CPU"):
            characters, word_splits, row_splits = self.splitter.words(texts)
            numbers = self._frequent_words.lookup(self.splitter.keys(characters, word_splits))  # (W,)
            # A text that begins with an unspaced script has no space to remember: its ▁, a word alone, goes.
            rows = row_splits[:, tf.newaxis]  # (B + 1, 1)
            is_first = tf.scatter_nd(rows, tf.ones_like(row_splits), tf.shape(word_splits, tf.int64))[:-1] > 0
            is_alone = tf.equal(word_splits[1:] - word_splits[:-1], 1)
            numbers = tf.where(is_first & is_alone, tf.constant(self._going, tf.int64), numbers)
            others = tf.where(tf.equal(numbers, self._not_frequent))  # (M, 1)
            spelling = ranges(tf.gather_nd(word_splits, others), tf.gather_nd(word_splits, others + 1))
            spelled = tf.gather(characters, spelling.rt_dense_values)
            ids, splits = self._match(spelled, spelling.rt_nested_splits)
            # The others' ids are written over what the frequent words' list holds behind its end.
            starts = tf.gather(self._frequent_splits, numbers)
            ends = tf.gather(self._frequent_splits, numbers + 1)
            ends = tf.tensor_scatter_nd_add(ends, others, splits[1:] - splits[:-1])
            tokens = ranges(starts, ends)
            token_splits = tokens.rt_nested_splits  # (W + 1,)
            places = ranges(tf.gather_nd(token_splits, others), tf.gather_nd(token_splits, others + 1))
            frequent = tf.gather(self._frequent_ids, tokens.rt_dense_values)
            ids = tf.tensor_scatter_nd_update(frequent, places.rt_dense_values[:, tf.newaxis], ids)
            return tf.RaggedTensor.from_row_splits(ids, tf.gather(token_splits, row_splits), validate=False)

    def encode_one(self, code_points):
        """One text's code points, int32 (N,) → its ids, int32 (T,): as `encode`, without strings and tables of words."""
        # TensorFlow Lite breaks down where there is nothing at all: a last word, a full stop, whose ids go again.
        code_points = tf.concat([[ord(" ")], code_points, [ord(" "), ord(".")]], 0)
        splits = tf.stack([tf.constant(0, tf.int64), tf.size(code_points, tf.int64)])
        characters, word_splits, _ = self.splitter.cut(*self.splitter.normalized(code_points, splits))
        ids, splits = self._match(characters, word_splits)
        first = tf.reduce_any(tf.equal(word_splits, 1))  # the first word is a ▁ alone, which goes
        return ids[tf.cast(first, tf.int32) : tf.cast(splits[-2], tf.int32)]

    def encode_with_offsets(self, texts):
        """tf.string (B,) → (ids as `encode` gives them, starts, ends): tf.RaggedTensor (B, None), the last two int64.

        A token stands for the bytes [start, end) of its text, as it was given. The space before a word is none of them,
        and a token that is nothing but a space is empty. What is normalised away within a token is part of it; a
        character that becomes several belongs to every token that has one of these.
        """
        ids = self.encode(texts)
        with tf.device("CPU"):
            starts, ends, splits = self.splitter.origins(texts)
            length = tf.gather(self._characters, ids.values)  # (T,)
            last = tf.cumsum(length)  # (T,): characters up to a token's end
            # A text's tokens are all of its characters from the end on: a ▁ that goes is the first.
            gone = splits - tf.gather(tf.concat([[tf.constant(0, tf.int64)], last], 0), ids.row_splits)  # (B + 1,)
            last += tf.gather(gone, ids.value_rowids() + 1)
            end = tf.gather(ends, last - 1)
            first = last - length + tf.cast(tf.gather(self._spaces, ids.values), tf.int64)
            start = tf.where(first < last, tf.gather(starts, tf.minimum(first, last - 1)), end)
            return ids, ids.with_values(start), ids.with_values(end)

    def _match(self, characters, splits):
        """Words as characters int32 (P,) with splits int64 (M + 1,) → their ids int32 (T,) with splits."""
        size = tf.size(characters)
        starts = splits[:-1, tf.newaxis]  # (M, 1)
        nodes = self._longest_matches(tf.gather(self._symbols, characters), starts)
        # Which positions are reached from a word's start: after round r all those within 2^r pieces.
        jump = tf.concat([tf.range(size) + tf.gather(self._length, nodes), [size]], 0)  # (P + 1,)
        reached = tf.scatter_nd(starts, tf.ones_like(splits[:-1], tf.int32), tf.shape(jump, tf.int64))
        for _ in range((self.splitter.longest_word - 1).bit_length()):
            reached = tf.maximum(reached, tf.math.unsorted_segment_max(reached, jump, size + 1))
            jump = tf.gather(jump, jump)
        tokens = tf.where(reached[:-1] > 0)  # (T, 1)
        ids, token_splits = tf.gather(self._piece, tf.gather_nd(nodes, tokens)), count_below(tokens[:, 0], splits)
        if self.splitter.cuts_words:
            return ids, token_splits
        is_long = splits[1:] - splits[:-1] > self.splitter.longest_word  # (M,)
        return _whole_words(ids, token_splits, is_long)

    def _longest_matches(self, symbols, starts):
        """symbols int32 (P,), starts int64 (M, 1) of words → the node int32 (P,) where the walk from each
        position ends; its longest piece is the match."""
        size = tf.size(symbols)
        # A walk may begin at a word's first character but not step on it: symbol 0 has no children.
        following = tf.tensor_scatter_nd_update(symbols, starts, tf.zeros_like(starts[:, 0], tf.int32))
        following = tf.concat([following, tf.zeros([self._longest_piece], tf.int32)], 0)

        def step(node, last, symbol):
            child = tf.gather(self._base, node) + symbol
            exists = tf.equal(tf.gather(self._parent, child), node)
            return tf.where(exists, child, tf.zeros_like(child)), tf.where(exists, child, last)

        node = last = symbols
        for depth in range(1, min(SHARED_DEPTH, self._longest_piece)):
            node, last = step(node, last, following[depth : depth + size])
        alive = tf.where(node > 0)  # (A, 1)
        node = alive_last = tf.gather_nd(node, alive)
        for depth in range(SHARED_DEPTH, self._longest_piece):
            node, alive_last = step(node, alive_last, tf.gather_nd(following, alive + depth))
        return tf.tensor_scatter_nd_update(last, alive, alive_last)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def normalize(self, texts):
        """tf.string (B,) → tf.string (B,): the text as the tokenizer sees it."""
        with tf.device("CPU"):
            code_points, row_splits = self.splitter.normal_characters(texts)
            normal = tf.RaggedTensor.from_row_splits(code_points, row_splits, validate=False)
            return self._without_markers(tf.strings.unicode_encode(normal, "UTF-8"))

    def decode(self, ids):
        """Ids int32 (B, L), dense or ragged → tf.string (B,), without [PAD], [CLS] and [SEP]."""
        with tf.device("CPU"):
            return self._without_markers(tf.strings.reduce_join(tf.gather(self._shown_pieces, ids), axis=-1))

    def _without_markers(self, texts):
        return tf.strings.strip(tf.strings.regex_replace(texts, MARKER, " "))

    def save(self, path: Path) -> None:
        """Writes the whole definition as one JSON file."""
        Path(path).write_text(self.definition_text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Reads what save wrote. Raises FileNotFoundError, or ValueError when it holds something else."""
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        try:
            definition = json.loads(text)
            if definition["version"] != FORMAT_VERSION:
                raise ValueError(f"version {definition['version']}, but this program reads {FORMAT_VERSION}")
            if tuple(definition["vocabulary"][: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
                raise ValueError(f"the vocabulary does not begin with {SPECIAL_TOKENS}")
            return _tokenizer(text)
        except (KeyError, TypeError, IndexError, ValueError, tf.errors.OpError) as error:
            raise ValueError(f"{path} is no tokenizer of this version ({error!r}); train it anew") from error


def _whole_words(ids, splits, is_unknown):
    """One [UNK] in place of each word that is unknown, bool (M,), or has an [UNK] among its ids int32 (T,) with splits
    int64 (M + 1,): ids and splits as those."""
    unknown = tf.concat([[0], tf.cumsum(tf.cast(tf.equal(ids, UNK), tf.int32))], 0)  # (T + 1,), so many before
    unknown = tf.gather(unknown, splits)
    is_unknown = is_unknown | (unknown[1:] > unknown[:-1])
    last = tf.size(ids, tf.int64)  # where the [UNK] stands
    kept = ranges(tf.where(is_unknown, last, splits[:-1]), tf.where(is_unknown, last + 1, splits[1:]))
    return tf.gather(tf.concat([ids, [UNK]], 0), kept.rt_dense_values), kept.rt_nested_splits


@functools.lru_cache(maxsize=4)
def _tokenizer(definition_text):
    """The tokenizer of a definition: its tables are built and its graph is traced once in a process."""
    return Tokenizer(json.loads(definition_text))


def _double_array(vocabulary: list[str], table_size: int):
    """The tree of pieces as a double array (Aoe 1989, IEEE Transactions on Software Engineering 15(9)).

    The child of a node for a symbol stands at base[node] + symbol if parent[there] == node. Symbols number
    the alphabet from 1, the node of a character is its symbol, 0 is no symbol and no node. Returns int32
    arrays: the symbol of each code point (table_size,); for each node (nodes,) its base, its parent, and id
    and length of the longest piece that its string begins with (of [UNK]: 1).
    """
    token_ids = {piece: n for n, piece in enumerate(vocabulary) if n >= len(SPECIAL_TOKENS)}
    alphabet = sorted({character for piece in token_ids for character in piece})
    symbols = {character: n for n, character in enumerate(alphabet, 1)}
    children = {}  # prefix → {symbol that may follow: longer prefix}
    for piece in token_ids:
        for length in range(1, len(piece)):
            children.setdefault(piece[:length], {})[symbols[piece[length]]] = piece[: length + 1]
    # First fit, large families first; those of one child fill the gaps.
    width = len(alphabet) + 1
    free, lowest, base_of = np.zeros(width, bool), width, {}
    for prefix in sorted(children, key=lambda prefix: (-len(children[prefix]), prefix)):
        offsets = np.array(sorted(children[prefix]))
        window = 1024 if len(offsets) > 1 else 1
        start, fits = lowest, np.zeros(0, bool)
        while not fits.any():
            if start + window + width > len(free):
                free = np.concatenate([free, np.ones(window + width, bool)])
            candidates = start + np.flatnonzero(free[start : start + window]) - offsets[0]
            fits = free[candidates[:, np.newaxis] + offsets].all(axis=1)
            start += window
        base_of[prefix] = candidates[fits.argmax()]
        free[base_of[prefix] + offsets] = False
        lowest += int(free[lowest:].argmax())
    base, parent, piece, length = np.zeros((4, len(free)), np.int32)
    parent[:] = -1
    piece[:width], length[:width] = UNK, 1
    nodes = dict(symbols)
    for character, node in symbols.items():
        piece[node] = token_ids.get(character, UNK)
    for prefix in sorted(children, key=len):  # parents first
        node = nodes[prefix]
        base[node] = base_of[prefix]
        for symbol, longer in children[prefix].items():
            child = nodes[longer] = base_of[prefix] + symbol
            parent[child] = node
            piece[child] = token_ids.get(longer, piece[node])
            length[child] = len(longer) if longer in token_ids else length[node]
    symbol_table = np.zeros(table_size, np.int32)
    symbol_table[[ord(character) for character in alphabet]] = np.arange(1, width)
    return symbol_table, base, parent, piece, length
