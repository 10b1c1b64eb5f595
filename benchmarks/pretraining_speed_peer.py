"""The peers' sides of benchmarks/pretraining_speed.py, in their environment: PEER rows|sentences IDS."""

import os
import sys
import time

import numpy as np

from benchmarks.peers import serve

BATCH_SIZE, LENGTH, VOCABULARY_SIZE, MASK_RATE, LEARNING_RATE = 32, 128, 8192, 0.15, 1e-3
LAYERS, HIDDEN, HEADS = 4, 256, 4
PAD, UNK, CLS, SEP, MASK = range(5)


def documents(ids, text):
    """Full rows of 128 as one array (N, 128), or a list of arrays, one a sentence with [CLS] and [SEP]."""
    if text == "rows":
        return ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH)
    return np.split(ids, np.flatnonzero(ids == CLS)[1:])


def transformers_step(examples):
    """BertForMaskedLM with AdamW; a batch of sentences is padded to its longest."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import BertConfig, BertForMaskedLM

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    examples = [torch.tensor(example, dtype=torch.long) for example in examples]
    model = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY_SIZE, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
                                       num_attention_heads=HEADS, intermediate_size=4 * HIDDEN,
                                       max_position_embeddings=512, hidden_dropout_prob=0.0,
                                       attention_probs_dropout_prob=0.0)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))

    def step():
        numbers = torch.randint(len(examples), (BATCH_SIZE,))
        token_ids = pad_sequence([examples[number] for number in numbers], batch_first=True, padding_value=PAD)
        real = token_ids != PAD
        masked = (torch.rand(token_ids.shape) < MASK_RATE) & (token_ids > MASK)
        labels = torch.where(masked, token_ids, -100)
        kind = torch.rand(token_ids.shape)
        token_ids[masked & (kind < 0.8)] = MASK
        random = masked & (kind >= 0.9)
        token_ids[random] = torch.randint(MASK + 1, VOCABULARY_SIZE, (int(random.sum()),))
        # Without padding no mask at all: attention is faster so.
        attention_mask = None if real.all() else real.long()
        model(input_ids=token_ids, attention_mask=attention_mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(real.sum())

    return step


def keras_hub_step(examples):
    """BertMaskedLM, compiled, on batches of its own mask generator; every sentence is padded to 128."""
    import keras
    import keras_hub
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    padded = np.zeros((len(examples), LENGTH), np.int32)
    for row, example in zip(padded, examples):
        row[: len(example)] = example
    masker = keras_hub.layers.MaskedLMMaskGenerator(
        vocabulary_size=VOCABULARY_SIZE, mask_selection_rate=MASK_RATE, mask_token_id=MASK,
        mask_selection_length=-(-LENGTH * 15 // 100), unselectable_token_ids=[PAD, UNK, CLS, SEP, MASK])

    def example(token_ids):
        masked = masker(token_ids)
        inputs = {"token_ids": masked["token_ids"], "mask_positions": masked["mask_positions"],
                  "segment_ids": tf.zeros_like(token_ids), "padding_mask": token_ids != PAD}
        return inputs, masked["mask_ids"], masked["mask_weights"]

    dataset = tf.data.Dataset.from_tensor_slices(padded).shuffle(len(padded)).repeat().batch(BATCH_SIZE)
    batches = iter(dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY_SIZE, num_layers=LAYERS, num_heads=HEADS, hidden_dim=HIDDEN,
        intermediate_dim=4 * HIDDEN, max_sequence_length=LENGTH, dropout=0.0)
    model = keras_hub.models.BertMaskedLM(backbone, preprocessor=None)
    model.compile(keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01, beta_2=0.98, global_clipnorm=1.0),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), weighted_metrics=[],
                  jit_compile=False)  # by XLA it keeps to one core: 2,750 tokens a second of CPU, without 2,600

    def step():
        inputs, labels, weights = next(batches)
        model.train_on_batch(inputs, labels, weights)
        return int(np.count_nonzero(inputs["padding_mask"]))

    return step



if __name__ == "__main__":
    peer, text, path = sys.argv[1:]
    train_step = {"transformers": transformers_step, "keras_hub": keras_hub_step}[peer](documents(np.load(path), text))

    def measure(seconds):
        started, tokens, steps = time.perf_counter(), 0, 0
        while time.perf_counter() - started < seconds:
            tokens += train_step()
            steps += 1
        return {"tokens": tokens, "seconds": time.perf_counter() - started, "steps": steps}

    serve(measure)
