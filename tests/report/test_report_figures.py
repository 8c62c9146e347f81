"""The figures of a classifier, beside those counted by hand. Without this a report tells a person what is not so."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from unidl.data import Split
from unidl.errors import DataError
from unidl.report import Classification
from unidl.report.contact_sheet import GAP, LINE, TILE, contact_sheet
from unidl.report.making import FIGURES, PAGE, SHEET, _made, require_classes

LABELS = np.array([0, 0, 0, 1, 1, 2])
OUTPUTS = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.6, 0.3, 0.1],
        [0.1, 0.8, 0.1],  # a mistake, at 0.8
        [0.2, 0.7, 0.1],
        [0.95, 0.05, 0.0],  # a mistake, at 0.95
        [0.1, 0.2, 0.7],
    ]
)
NAMES = ("cat", "dog", "<b>")


def found():
    return Classification(LABELS, OUTPUTS, NAMES)


def test_confusion_precision_and_recall():
    assert found().confusion().tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    cat, dog, other = found().classes()
    assert (cat.precision, cat.recall, cat.f1) == (2 / 3, 2 / 3, 2 / 3)
    assert (dog.precision, dog.recall) == (0.5, 0.5)
    assert (other.rows, other.predicted, other.precision) == (1, 1, 1.0)
    assert found().accuracy == 4 / 6
    assert found().crossentropy == pytest.approx(-np.log([0.9, 0.6, 0.1, 0.7, 0.05, 0.7]).mean())


def test_a_class_that_nobody_predicts_has_no_precision():
    one = Classification([0, 1], [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]]).classes()
    assert (one[1].precision, one[1].recall, one[1].f1) == (None, 0.0, 0.0)
    assert (one[2].precision, one[2].recall, one[2].f1) == (None, None, None)
    assert [each.name for each in one] == ["0", "1", "2"]


def test_calibration_is_the_mean_distance_of_sure_and_right():
    """Five bins: 0.4 to 0.6 holds 0.6, right; 0.6 to 0.8 holds 0.7, 0.7, 0.8; above are 0.9 and 0.95."""
    bins = found().calibration(5)
    assert [one.rows for one in bins] == [0, 0, 1, 3, 2]
    assert bins[3].confidence == pytest.approx((0.7 + 0.7 + 0.8) / 3)
    assert bins[3].accuracy == pytest.approx(2 / 3)
    expected = (1 * 0.4 + 3 * abs(2 / 3 - 2.2 / 3) + 2 * abs(0.5 - 0.925)) / 6
    assert found().calibration_error(5) == pytest.approx(expected)
    sure = Classification(np.arange(10) % 2, np.eye(2)[np.arange(10) % 2])
    assert sure.calibration_error() == 0


def test_the_most_confident_mistakes_come_first():
    assert found().mistakes().tolist() == [4, 2]
    assert found().mistakes(1).tolist() == [4]


def test_two_classes_by_one_probability_and_one_hot_labels():
    one = Classification([1, 0, 1], [[0.8], [0.4], [0.3]])
    assert one.predicted.tolist() == [1, 0, 0]
    assert one.probabilities.shape == (3, 2)
    assert Classification(np.eye(3)[LABELS], OUTPUTS).confusion().tolist() == found().confusion().tolist()


@pytest.mark.parametrize(
    ("labels", "outputs", "said"),
    [
        ([0], [[2.0, 1.0]], "not probabilities, whose sum is 1"),
        ([0, 1], [[0.5, 0.5]], r"labels of shape \(2,\) beside 1 rows"),
        ([2], [[0.5, 0.5]], "whole numbers from 0 to 1, and go from 2 to 2"),
        ([0.5], [[0.5, 0.5]], "whole numbers from 0 to 1"),
        ([0], np.full((1, 2, 2), 0.5), r"outputs of shape \(1, 2, 2\)"),
        ([0], np.full((1, 2000), 1 / 2000), "2,000 classes"),
    ],
)
def test_what_is_no_classification_says_so(labels, outputs, said):
    with pytest.raises(DataError, match=said):
        Classification(labels, outputs)


def test_rows_without_classes_have_no_report():
    with pytest.raises(DataError, match="one class for each row"):
        require_classes(Split(np.ones((2, 3)), np.array([0.5, 1.5])))
    require_classes(Split(np.ones((2, 3)), np.array([0.0, 1.0])))


def test_a_sheet_has_each_image_in_its_place():
    """Black stays black and white white, and small images are enlarged without blur."""
    images = np.zeros((8, 4, 4, 1), np.float32)
    images[7] = 1.0
    png = contact_sheet(images, [["cat > dog", "99.0%, row 3"]] * 8, (0.0, 1.0))
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    row = TILE + 2 * LINE + GAP
    assert sheet.shape == (GAP + 2 * row, GAP + 6 * (TILE + GAP))
    assert sheet[GAP + 5, GAP + 5] == 0
    assert sheet[GAP + row + 5, GAP + TILE + GAP + 5] == 255
    assert sheet[GAP + TILE : GAP + TILE + LINE, GAP : GAP + TILE].min() < 100, "words"
    large = contact_sheet(np.full((1, 300, 150, 3), 128, np.uint8), [["tall"]])
    assert Image.open(io.BytesIO(large)).size == (2 * GAP + TILE, 2 * GAP + TILE + LINE)


class Page(HTMLParser):
    """The tags of a page, and whether each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_page_stands_by_itself_and_escapes_names():
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4, 1)
    files = _made(found(), Split(images, LABELS), None, "a <title>").files
    assert set(files) == {PAGE, FIGURES, SHEET}
    text = files[PAGE].decode()
    page = Page(text)
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert "script" not in tags
    assert "link" not in tags
    assert {"svg", "table", "img"} <= tags
    sources = [attributes["src"] for _, attributes in page.seen if "src" in attributes]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.findall(r"(?:href|url\()", text)
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    kept = json.loads(files[FIGURES])
    assert kept["confusion"] == found().confusion().tolist()
    assert kept["most_confident_mistakes"][0] == {"row": 4, "label": "dog", "predicted": "cat", "confidence": 0.95}


def test_texts_and_arrays_have_a_table_of_mistakes():
    words = ("", "?", "the", "cat", "runs")
    split = Split(np.tile(np.array([2, 3, 4, 0]), (6, 1)), LABELS, vocabulary=words)
    files = _made(found(), split, None, "texts").files
    assert set(files) == {PAGE, FIGURES}
    assert "<td>the cat runs</td>" in files[PAGE].decode()
    right = Classification([0, 1], np.eye(2))
    assert "There are none." in _made(right, Split(np.ones((2, 3)), [0, 1]), None, "arrays").files[PAGE].decode()
