"""Text to batches: sources, corpus, tokenizer, packing, order, masking, tasks, batching."""
