"""How texts are written unless somebody says otherwise: the same by every command."""

# Of a GPT, which draws: `models.generation.Sampling`, and how many tokens follow at most.
SAMPLING = {"tokens": 100, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "repetition_penalty": 1.0}
# Of an encoder–decoder, which searches: `models.generation.beam_search`.
BEAMS = {"num_beams": 5, "length_penalty": 1.0}
