"""transformers' side of benchmarks/decoder_speed.py, in the peers' environment: GPT-2 and BART of the same sizes."""

import os
import time

import torch
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel

from benchmarks.peers import serve

BATCH_SIZE, LENGTH, PAIR_LENGTH, VOCABULARY_SIZE = 32, 128, 64, 8192
PROMPT, WRITTEN = 16, 112
LAYERS, HIDDEN, HEADS = 4, 256, 4


def training(model, inputs):
    """A function that makes one step of AdamW on the same batch."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98))

    def step():
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def ids(*shape):
    return torch.randint(5, VOCABULARY_SIZE, shape)


torch.set_num_threads(os.cpu_count())
torch.manual_seed(0)
gpt_config = GPT2Config(vocab_size=VOCABULARY_SIZE, n_positions=LENGTH, n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS,
                        bos_token_id=2, eos_token_id=3, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
writer = GPT2LMHeadModel(gpt_config).eval()
rows, sources, targets = ids(BATCH_SIZE, LENGTH), ids(BATCH_SIZE, PAIR_LENGTH), ids(BATCH_SIZE, PAIR_LENGTH)
bart = BartForConditionalGeneration(BartConfig(
    vocab_size=VOCABULARY_SIZE, max_position_embeddings=LENGTH, d_model=HIDDEN, encoder_layers=LAYERS, decoder_layers=LAYERS,
    encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=4 * HIDDEN, decoder_ffn_dim=4 * HIDDEN,
    pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=2, forced_eos_token_id=None, dropout=0.0))
steps = {"gpt": (training(GPT2LMHeadModel(gpt_config), {"input_ids": rows, "labels": rows}), BATCH_SIZE * LENGTH),
         "seq2seq": (training(bart, {"input_ids": sources, "labels": targets}), 2 * BATCH_SIZE * PAIR_LENGTH)}
prompts = {1: ids(1, PROMPT), 16: ids(16, PROMPT)}


@torch.inference_mode()
def write(prompt):
    """How many tokens GPT-2 has written after a prompt."""
    written = writer.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, use_cache=True,
                              max_new_tokens=WRITTEN, min_new_tokens=WRITTEN, pad_token_id=0)
    return written[:, PROMPT:].numel()


def measure(question):
    """Answers `Ours.ask`'s questions."""
    kind, _, texts = question["what"].partition("_")
    started, tokens = time.perf_counter(), 0
    while time.perf_counter() - started < question["seconds"]:
        if kind == "write":
            tokens += write(prompts[int(texts)])
        else:
            step, count = steps[kind]
            step()
            tokens += count
    return {"tokens": tokens, "seconds": time.perf_counter() - started}


serve(measure)
