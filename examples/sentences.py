"""Tell sentences from others of the same words in random order.

The sentences are from Python's own documentation, so nothing is downloaded. Which words there are does not tell the
two kinds apart, as logistic regression on their numbers shows: the order is to be learned.

    python examples/sentences.py [EPOCHS [SENTENCES]]
"""

import re
import sys
from pydoc_data.topics import topics

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from unidl import Trainer, build_text_classifier, build_transformer

WORDS, LENGTH = 1000, 16
"""Size of the vocabulary, and words of a sentence that a model sees."""


def sentences() -> list[list[str]]:
    """Return sentences of the documentation, in random order, as lists of words."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    found = (re.findall(r"[a-z]+", part.lower()) for part in re.split(r"[.:;]\s|\n\s*\n", text))
    unique = sorted({tuple(words[:LENGTH]) for words in found if len(words) >= 6})
    return [list(unique[place]) for place in np.random.default_rng(0).permutation(len(unique))]


def two_kinds(written: list[list[str]], copies: int) -> tuple[list[list[str]], np.ndarray]:
    """Return each sentence several times as it is written, label 0, and as often in random order, label 1."""
    generator = np.random.default_rng(1)
    rows = [words for _ in range(copies) for words in written]
    return rows + [list(generator.permutation(words)) for words in rows], np.repeat([0, 1], len(rows))


def tokens(rows: list[list[str]], numbers: dict[str, int]) -> np.ndarray:
    """Return the numbers of the words, (rows, LENGTH): 0 is padding, 1 any word that is not in the vocabulary."""
    found = [[numbers.get(word, -1) + 2 for word in words] for words in rows]
    return np.array([(row + [0] * LENGTH)[:LENGTH] for row in found], "int32")


def compare(epochs: int, count: int) -> dict[str, float]:
    """Return the accuracy of each model on sentences that it has not seen in any order."""
    written = sentences()[:count]
    first = len(written) * 4 // 5
    (train, y), (test, test_y) = two_kinds(written[:first], copies=2), two_kinds(written[first:], copies=1)
    counter = CountVectorizer(max_features=WORDS - 2, analyzer=list).fit(train)
    regression = LogisticRegression(max_iter=1000).fit(counter.transform(train), y)
    found = {"logistic regression": regression.score(counter.transform(test), test_y)}

    size = {"vocabulary_size": WORDS, "sequence_length": LENGTH, "units": 64, "layers": 2, "classes": 2, "dropout": 0.2}
    models = {
        "text classifier": build_text_classifier(**size),
        "causal transformer": build_transformer(**size, mask_padding=True),
    }
    for name, model in models.items():
        trainer = Trainer(model)
        trainer.fit(tokens(train, counter.vocabulary_), y, epochs=epochs, batch_size=64, progress="quiet")
        found[name] = trainer.evaluate(tokens(test, counter.vocabulary_), test_y)["accuracy"]
    return found


def main() -> None:
    epochs, count = (*map(int, sys.argv[1:]), *(15, 4000)[len(sys.argv) - 1 :])
    for name, accuracy in compare(epochs, count).items():
        print(f"{name:20} accuracy {accuracy:6.1%}")


if __name__ == "__main__":
    main()
