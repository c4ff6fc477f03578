"""A byte-level BPE tokenizer that is learnt from texts, as the tokenizers of new checkpoints are."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def learnt_tokenizer(texts: Sequence[str], size: int, special_tokens: Sequence[str]) -> Tokenizer:
    """Every byte has a token, so any text in any language can be spelt. The same arguments give the same tokenizer.

    :param texts: texts that it is learnt from.
    :param size: largest number of tokens.
    :param special_tokens: special tokens; they have the first ids, in this order.
    """
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learnt.train_from_iterator(texts, trainer)
    return learnt
