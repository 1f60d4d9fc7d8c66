"""The embedded language: a closed English vocabulary, one token a word, digits apart, and a lossless
tokenizer.

Whole words keep a problem near a hundred tokens, and digits apart let a model of a million parameters learn
to calculate. A token carries the space before it, so decoding is plain concatenation and a prefix is
continued verbatim.
"""

import random
import re
from typing import TYPE_CHECKING

from pipeline.embedded.problems import arithmetic, logic
from pipeline.embedded.problems.lessons import case, reviewing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN, STEP = "<pad>", "<s>", "</s>", "<unk>", "<step>"
# `Tom has 14,` is cut into "Tom", " has", " 1", "4", ",".
PIECES = re.compile(r" ?[A-Za-z]+| ?[0-9]|\n| ?[^\sA-Za-z0-9]|\s")


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """The tokenizer: byte-for-byte reversible on text of its vocabulary, `<unk>` for anything else."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(PIECES.pattern), behavior="isolated")
    special = [PAD, BOS, EOS, UNKNOWN, STEP]
    vocabulary = special + sorted(_words())
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.pre_tokenizer = split
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        extra_special_tokens=[STEP],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _words() -> set[str]:
    """Every piece the generators can write, found by writing a lot; digits and names are added outright."""
    rng = random.Random("vocabulary")
    found = {f"{space}{digit}" for digit in "0123456789" for space in ("", " ")}
    names = [*arithmetic.NAMES, *arithmetic.UNITS, *logic.ADJECTIVES]
    found |= {f" {name}" for name in names}
    # Many texts, so that each word of the generators is met; the loop is seeded, so ids never change.
    for _ in range(4000):
        lesson = reviewing(case(rng, rng.randint(1, 8)), rng, redone=False)
        found.update(PIECES.findall(lesson.prompt + lesson.reply))
    return found
