"""BERT: a Transformer encoder (Devlin et al. 2019) with present norms and positions, on packed rows."""

from models import transformer
from models.attention import same_segment

MIXED_PLACES = (-1, 1)  # what `LocalMixing` reads: the token before and the one after


def backbone(config, name="backbone", rematerialise=False):
    """Token ids in, one vector per position out.

    Documents packed into one row do not see each other and positions count as distances, so a row of three documents
    gives the same vectors as three rows of one document.

    Args:
        config: `TransformerConfig`.
        rematerialise: compute attention twice in training instead of keeping it in memory; changes no value.

    Returns:
        `keras.Model`: {"token_ids": int32 (B, L), "segment_ids": int32 (B, L)} → float (B, L, D).
        Its layer "token_embedding" is reversible: `call(x, reverse=True)` gives logits over the vocabulary.
    """
    return transformer.backbone(config, MIXED_PLACES, same_segment, name, rematerialise)
