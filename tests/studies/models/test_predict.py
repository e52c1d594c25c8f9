"""Predicting and evaluating with a saved model: every kind of file, its errors, and hostile files."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.arrays import Array
from mlp.data import Dataset
from mlp.errors import ConfigError
from mlp.model import Model
from mlp.training import train
from studies.models.predict import Inputs, Predictions, read_inputs
from tests.mlp_data import blobs, small_config
from tests.table_data import model_of

DATA = blobs()
INPUTS = np.asarray(DATA.test_inputs)
FLOWER_INPUTS = {"petal": [i % 7 for i in range(20)], "colour": ["red" if i % 3 else "blue" for i in range(20)]}
FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


@functools.cache
def model() -> Model:
    """A model of the blobs: 6 inputs, 3 classes."""
    return Model.of(train(small_config(), DATA), DATA)


def predictions(model: Model, inputs: Inputs | Array, ids: tuple[str, ...] = ()) -> list[list[str]]:
    inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
    return list(csv.reader(Predictions.of(model, inputs, ids).to_csv().splitlines()))


def refusal(file: Path, **options: Any) -> str:
    """Return the error about a file, without the name of the file, which must come first."""
    with pytest.raises(ConfigError) as error:
        read_inputs(file, model(), **options)
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value).removeprefix(f"{file}: ")


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def idx(array: Array, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def lines(array: Array) -> bytes:
    header = ",".join(f"x{i}" for i in range(array.shape[1]))
    return "\n".join([header, *(",".join(map(str, row)) for row in array.tolist())]).encode()


def archive(member: bytes, compression: int = zipfile.ZIP_DEFLATED, name: str = "x.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as zipped:
        zipped.writestr(name, member)
    return stream.getvalue()


FILES = {
    "x.npy": npy(INPUTS),
    "pictures.npy": npy(INPUTS.reshape(-1, 2, 3)),
    "columns.npy": npy(np.asfortranarray(INPUTS)),
    "floats.npy": npy(INPUTS.astype(np.float64)),
    "stored.npz": archive(npy(INPUTS), zipfile.ZIP_STORED),
    "packed.npz": archive(npy(INPUTS)),
    "x-idx3-ubyte": idx(INPUTS.reshape(-1, 2, 3)),
    "x-idx2-ubyte.gz": gzip.compress(idx(INPUTS)),
    "x-idx2-int": idx(INPUTS.astype(">i4"), 0x0C),
    "x-idx2-double.gz": gzip.compress(idx(INPUTS.astype(">f8"), 0x0E)),
    "x.csv": lines(INPUTS),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_inputs_in_any_file_give_the_same_predictions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    inputs = read_inputs(tmp_path / name, model())
    np.testing.assert_array_equal(inputs.cells, INPUTS)
    assert predictions(model(), inputs) == predictions(model(), INPUTS)


def test_a_prediction_is_the_most_probable_class_and_all_probabilities() -> None:
    header, *rows = predictions(model(), INPUTS)
    assert header == ["label", "a", "b", "c"]
    probabilities = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(probabilities, model().predict_proba(INPUTS), rtol=1e-5)
    assert [row[0] for row in rows] == [DATA.classes[which] for which in model().predict(INPUTS)]


def test_predicted_values_are_written_as_numbers_in_their_own_units(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("x,y\n" + "".join(f"{i % 7},{1_000_000_000 + i / 7}\n" for i in range(30)))
    fitted = model_of(file, target="y")
    inputs = read_inputs(file, fitted)
    header, *rows = predictions(fitted, inputs)
    assert header == ["y"]
    assert all(1e9 <= float(row[0]) < 1e9 + 5 for row in rows)
    np.testing.assert_allclose(
        [float(row[0]) for row in rows], fitted.predict({"x": [i % 7 for i in range(30)]})[:, 0], rtol=1e-8
    )


def test_the_probability_of_each_label_is_written() -> None:
    targets = (np.arange(140).reshape(70, 2) % 3 == 0).astype(np.uint8)
    data = Dataset("many", DATA.inputs, targets, DATA.test_inputs, targets[:20], ("round", "red"), 255.0, "")
    fitted = Model.of(train(small_config({"loss": "binary_cross_entropy"}), data), data)
    header, *rows = predictions(fitted, INPUTS)
    assert (header, len(rows)) == (["round", "red"], len(INPUTS))
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row)


def test_no_examples_give_only_the_header(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(archive(npy(INPUTS[:0])))
    assert predictions(model(), read_inputs(tmp_path / "x.npz", model())) == [["label", "a", "b", "c"]]


def test_the_column_with_the_answers_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    rows = "".join(f"{','.join(map(str, row))},?\n" for row in INPUTS.tolist())
    for name in ("label", "answer"):
        file.write_text(f"a,b,c,d,e,f,{name}\n{rows}")
        np.testing.assert_array_equal(read_inputs(file, model(), label=name).cells, INPUTS)
    assert refusal(file) == (
        "must have 6 inputs per example, because the model has 6, got 7. If a column contains the answers, ignore it "
        "with --label COLUMN."
    )
    assert refusal(file, label="anser") == (
        'there is no column "anser". Did you mean "answer"? Its columns are: a, b, c, d, e, f, answer.'
    )


def test_an_array_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez(file, train=INPUTS[:3], test=INPUTS)
    np.testing.assert_array_equal(read_inputs(file, model(), array="train").cells, INPUTS[:3])
    assert refusal(file) == "contains 2 arrays: train, test. Choose one with --array NAME."
    assert refusal(file, array="tests") == 'contains no array "tests". Did you mean "test"? Available: train, test.'


def flowers_model(folder: Path) -> Model:
    """Return a model of flowers by petal and colour."""
    (folder / "own.csv").write_text(FLOWERS)
    return model_of(folder / "own.csv", target="kind")


def test_columns_may_be_in_any_order_and_others_are_ignored_with_a_notice(tmp_path: Path) -> None:
    fitted = flowers_model(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("kind,colour,shop,petal\n?,red,7,3\n?,blue,8,6\n")
    inputs = read_inputs(other, fitted)
    assert inputs.cells.tolist() == [[3, 1], [6, 0]]
    assert inputs.notices == (f'{other}: the column "shop" is not used by the model.',)
    other.write_text("a,b,c,d,e,f,colour,petal\n1,1,1,1,1,1,red,3\n")
    notices = read_inputs(other, fitted).notices
    assert notices == (f'{other}: 6 columns are not used by the model: "a", "b", "c", "d", "e", ....',)
    other.write_text("colour,petal\nred,3\n")
    assert len(predictions(fitted, read_inputs(other, fitted))) == 2


def test_levels_that_the_training_data_did_not_have_are_counted_and_never_refused(tmp_path: Path) -> None:
    fitted = flowers_model(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("colour,petal\ngreen,3\nred,\npink,1\n")
    inputs = read_inputs(other, fitted)
    assert inputs.notices == (
        f"{other}: levels that the training data did not have count as no level: colour (2 of 3 rows).",
    )
    assert len(predictions(fitted, inputs)) == 4


def test_a_number_that_may_have_a_decimal_comma_is_told(tmp_path: Path) -> None:
    fitted = flowers_model(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text('colour,petal\nred,2\nred," 1,500"\n')
    inputs = read_inputs(other, fitted)
    assert inputs.cells[1, 0] == 1500
    assert inputs.notices == (f'{other}: 1,500 in column "petal" is read as 1500, as in the training data.',)


def test_a_missing_column_or_an_unreadable_cell_is_refused_by_name(tmp_path: Path) -> None:
    fitted = flowers_model(tmp_path)
    other = tmp_path / "other.csv"
    for text, problem in (
        ("colour\nred\n", 'there is no column "petal", which the model needs. Its columns are: colour.'),
        ("x\nred\n", '2 columns are missing: "petal", "colour", which the model needs.'),
        ("colour,petal\nred,1\nred,big\n", "column \"petal\", line 3: 'big' is not a number. Correct it, or leave"),
    ):
        other.write_text(text)
        with pytest.raises(ConfigError) as error:
            read_inputs(other, fitted)
        assert str(error.value).startswith(f"{other}: {problem}")


def test_csv_parquet_and_a_stream_give_the_same_predictions_and_a_column_is_copied(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    fitted = flowers_model(tmp_path)
    rows = {"name": ["é", "b"], "petal": [3.0, None], "colour": ["red", "blue"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    text = "name,petal,colour\né,3.0,red\nb,,blue\n"
    (tmp_path / "x.csv").write_text(text)
    sources = [tmp_path / "x.parquet", tmp_path / "x.csv", io.BytesIO(text.encode())]
    tables = [predictions(fitted, read_inputs(source, fitted, ids=("name",)), ("name",)) for source in sources]
    assert tables[0] == tables[1] == tables[2]
    assert [row[0] for row in tables[0]] == ["name", "é", "b"]
    assert tables[0][0] == ["name", "label", "a", "b"]
    with pytest.raises(ConfigError, match=r'there is no column "nam"\. Did you mean "name"'):
        read_inputs(tmp_path / "x.csv", fitted, ids=("nam",))


def test_predictions_are_written_as_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet

    fitted = flowers_model(tmp_path)
    inputs = read_inputs(tmp_path / "own.csv", fitted, ids=("colour",))
    (tmp_path / "out.parquet").write_bytes(Predictions.of(fitted, inputs, ("colour",)).to_parquet())
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["colour", "label", "a", "b"]
    np.testing.assert_array_equal(table.column("a").to_numpy(), fitted.predict_proba(FLOWER_INPUTS)[:, 0])
    with pytest.raises(ConfigError, match='two columns would be called "a"'):
        Predictions(("a", "a"), (np.arange(2), np.arange(2))).to_parquet()


def test_a_model_of_a_table_predicts_the_same_from_a_file_and_from_python(tmp_path: Path) -> None:
    fitted = flowers_model(tmp_path)
    inputs = read_inputs(tmp_path / "own.csv", fitted)
    np.testing.assert_array_equal(fitted.outputs_of_cells(inputs.cells), fitted.outputs(FLOWER_INPUTS))


@pytest.mark.parametrize(
    ("cells", "later"),
    [
        (["1.50", "2.50", "L"], ["1.50", "1.5"]),
        (["007", "008", "A1"], ["007", "008"]),
        (["True", "False", "True"], ["True", "TRUE"]),
        (["1", "2", "x"], ["1", "1.0"]),
    ],
)
def test_the_cells_of_a_later_file_are_read_as_those_of_the_training_file(
    tmp_path: Path, cells: list[str], later: list[str]
) -> None:
    (tmp_path / "own.csv").write_text(
        "c,x,kind\n" + "".join(f"{cells[i % 3]},{i % 7},{'ab'[i % 2]}\n" for i in range(30))
    )
    fitted = model_of(tmp_path / "own.csv", target="kind")
    assert fitted.manifest.schema is not None
    levels = fitted.manifest.schema.columns[0].levels
    (tmp_path / "later.csv").write_text("c,x\n" + "".join(f"{cell},1\n" for cell in later))
    codes = read_inputs(tmp_path / "later.csv", fitted).cells[:, 0].tolist()
    assert levels[int(codes[0])] == later[0]
    assert codes[1] >= -1


HUGE = 1 << 40


def npy_claiming(n: int, dtype: str = "|u1") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({n}, 6)}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(60)


def lying_archive() -> bytes:
    """Return an archive whose directory states the same false size as the header of its array."""
    member = npy_claiming(500_000_000)
    content = bytearray(archive(member))
    claimed = struct.pack("<I", len(member) - 60 + 3_000_000_000)
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + place
        content[start : start + 4] = claimed
    return bytes(content)


HOSTILE = {
    "more rows than there are.npy": (
        npy_claiming(HUGE),
        f"must contain {HUGE}×6 values of type uint8 as its header states, but does not.",
    ),
    "objects.npy": (npy_claiming(1, "|O"), "cannot be read: Array can't be memory-mapped: Python objects in dtype."),
    "nothing.npy": (b"", "cannot be read: "),
    "more rows than there are.npz": (
        archive(npy_claiming(HUGE)),
        f'array "x" must contain {HUGE}×6 values of type uint8 as its header states',
    ),
    "a lying directory.npz": (
        lying_archive(),
        'array "x" must contain 500000000×6 values of type uint8 as its header states, but',
    ),
    "objects.npz": (archive(npy_claiming(1, "|O")), 'array "x" must contain numbers, got the type object.'),
    "another packing.npz": (
        archive(npy(INPUTS), zipfile.ZIP_BZIP2),
        'array "x" is compressed by an unsupported method. Write the file with numpy.savez_compressed.',
    ),
    "no archive.npz": (npy(INPUTS), "cannot be read: File is not a zip file."),
    "empty.npz": (b"PK\x05\x06" + bytes(18), "contains no array."),
    "no array.npz": (archive(b"hello", name="x.txt"), "cannot be read: EOF: reading magic string"),
    "more than there is.idx": (
        struct.pack(">HBB2I", 0, 8, 2, 1 << 31, 1 << 31),
        f"must contain {1 << 31}×{1 << 31} values of type uint8",
    ),
    "more than there is.gz": (
        gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 1 << 20, 6) + bytes(99)),
        f"must contain {1 << 20}×6 values of type uint8 as its header states, but does not.",
    ),
    "less than there is.idx": (
        idx(INPUTS) + b"0",
        "must contain 20×6 values of type uint8 as its header states, but does not.",
    ),
    "no dimensions.idx": (b"\0\0\x08\0", "is not an IDX file: it must begin with 00 00, a type and the number of"),
    "no such type.idx": (b"\0\0\x07\x01\0\0\0\x01", "is not an IDX file"),
    "cut.idx": (b"\0\0\x08\x03\0\0", "is cut off within its header."),
    "text.idx": (b"hello", "is not an IDX file"),
    "empty.gz": (gzip.compress(b""), "is not an IDX file"),
    "broken.gz": (gzip.compress(idx(INPUTS))[:-20], "cannot be read"),
    "wide.npy": (npy(INPUTS[:, :5]), "must have 6 inputs per example, because the model has 6, got 5."),
    "flat.npy": (npy(INPUTS[:, 0]), "must have 6 inputs per example, because the model has 6, got 1."),
    "single.npy": (npy(np.float64(1)), "must have one row per example, got a scalar."),
    "texts.npy": (npy(np.full((2, 6), "a")), "inputs must be numbers, got the type <U1."),
    "complex.npy": (npy(np.ones((2, 6), complex)), "inputs must be numbers, got the type complex128."),
    "infinite.npy": (
        npy(np.full((2, 6), np.inf)),
        "inputs must be finite and at most 1e+30, got inf in row 0, column 0.",
    ),
    "wide.csv": (lines(INPUTS[:, :5]), "must have 6 inputs per example, because the model has 6, got 5."),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_invalid_file_is_refused_by_name_without_allocating_memory(tmp_path: Path, name: str) -> None:
    content, problem = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with Path("/proc/self/statm").open() as statm:
        in_use = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (1 << 28), before[1]))
    try:
        message = refusal(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert message.startswith(problem)


def test_a_file_that_is_missing_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("x.csv", "x.npy", "x.npz", "x-ubyte"):
        assert refusal(tmp_path / name) == "there is no such file."
        (tmp_path / name).mkdir()
        assert refusal(tmp_path / name).startswith(("cannot be read", "must be a regular file, got a folder"))
