"""Train an LSTM on the Python documentation, or on your own text, and generate text with it.

python examples/lstm.py [EPOCHS [TEXT]]
"""

import math
import sys

from unidl import Trainer, build_lstm, generate_text, load_data


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    text = load_data(sys.argv[2] if len(sys.argv) > 2 else "python-docs")

    model = build_lstm(vocabulary_size=len(text.vocabulary), sequence_length=20)
    trainer = Trainer(model)
    trainer.fit(text.train, epochs=epochs, batch_size=128)
    print(f"perplexity on text it has not seen: {math.exp(trainer.evaluate(text.test)['loss']):.1f}")

    print(generate_text(model, "the value of", words=40, temperature=0.8, top_k=40))


if __name__ == "__main__":
    main()
