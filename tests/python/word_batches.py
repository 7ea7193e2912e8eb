"""The text of the book's chapter 3, and models of its words with a batch for each."""

from nnext import util
from nnext.models import CBOW, SimpleCBOW, SimpleSkipGram, SkipGram

TEXT = "You say goodbye and I say hello."
CORPUS, WORD_TO_ID, ID_TO_WORD = util.preprocess(TEXT)
V = len(WORD_TO_ID)
SIMPLE = [SimpleCBOW, SimpleSkipGram]
SAMPLED = [CBOW, SkipGram]


def small(kind, rng=None, window=1, **options):
    """Make a model for the text above, with its contexts and targets."""
    contexts, target = util.create_contexts_target(CORPUS, window)
    if kind in SIMPLE:
        one_hot = [util.convert_one_hot(ids, V) for ids in (contexts, target)]
        return kind(V, 5, rng=rng, **options), *one_hot
    return kind(V, 5, window, CORPUS, rng=rng, **options), contexts, target
