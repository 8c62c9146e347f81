"""Train a CNN on real handwritten digits. On another framework: UNIDL_BACKEND=torch python examples/cnn.py

python examples/cnn.py [EPOCHS]
"""

import sys

from unidl import Trainer, build_cnn, load_data, load_model


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 5

    digits = load_data("digits")
    model = build_cnn(input_shape=(28, 28, 1), classes=10)
    trainer = Trainer(model)
    trainer.fit(digits.train, validation=digits.test, epochs=epochs, batch_size=64)
    trainer.save("runs/cnn")

    # The saved model runs on every backend, not only the one that trained it.
    images, labels = digits.test.x[:8], digits.test.y[:8]
    probabilities = Trainer(load_model("runs/cnn")).predict(images)
    print("labels ", *labels)
    print("guesses", *probabilities.argmax(axis=-1))


if __name__ == "__main__":
    main()
