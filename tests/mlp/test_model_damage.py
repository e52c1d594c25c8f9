"""Damaged, edited and hostile models: refused with the file, or the same model as before; never another prediction."""

from __future__ import annotations

import functools
import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlp import ConfigError, Model, load_model, save_model
from mlp.model_contents import MAX_FILE, MAX_MANIFEST
from mlp.model_io import check_writable
from mlp.training import train
from tests.mlp_data import blobs, small_config

N_MUTATIONS = 300
DATA = blobs()


@functools.cache
def model() -> Model:
    config = small_config({"epochs": 1, "data.scale": "standard"})
    return Model.of(train(config, DATA), DATA)


def is_same(found: Model) -> bool:
    """Return whether a model is the saved one, to the last bit."""
    same_rest = found.manifest == model().manifest and found.metrics == model().metrics
    return same_rest and found.theta.tobytes() == model().theta.tobytes()


def mutations(content: bytes, seed: int) -> Iterator[bytes]:
    """Yield damaged copies: bits flipped, digits replaced, parts cut out, doubled, overwritten, swapped or cut off."""
    rng = random.Random(seed)
    digits = [index for index, byte in enumerate(content) if chr(byte).isdigit()]

    def flip(data: bytearray, at: int) -> None:
        data[at] ^= 1 << rng.randrange(8)

    def replace_digit(data: bytearray, _: int) -> None:
        data[rng.choice(digits)] = ord(rng.choice("0123456789"))

    def insert_digit(data: bytearray, _: int) -> None:
        data.insert(rng.choice(digits), ord(rng.choice("0123456789-.e")))

    def cut(data: bytearray, at: int) -> None:
        del data[at : at + rng.randrange(1, 40)]

    def double(data: bytearray, at: int) -> None:
        data[at:at] = data[at : at + rng.randrange(1, 40)]

    def overwrite(data: bytearray, at: int) -> None:
        data[at : at + 16] = bytes(16)

    def truncate(data: bytearray, at: int) -> None:
        del data[at:]

    kinds: list[Callable[[bytearray, int], None]] = [
        flip,
        replace_digit,
        replace_digit,
        insert_digit,
        cut,
        double,
        overwrite,
        truncate,
    ]
    for index in range(N_MUTATIONS):
        data = bytearray(content)
        kinds[index % len(kinds)](data, rng.randrange(len(content)))
        yield bytes(data)


@pytest.mark.parametrize(("form", "name"), [("m", "model.json"), ("m", "weights.npz"), ("m.json", "")])
def test_a_damaged_model_is_refused_or_the_same(tmp_path: Path, form: str, name: str) -> None:
    place = save_model(model(), tmp_path / form)
    file = place / name if name else place
    content = file.read_bytes()
    n_refused = 0
    for damaged in mutations(content, seed=len(name)):
        file.write_bytes(damaged)
        try:
            assert is_same(load_model(place)), damaged
        except ConfigError as error:
            n_refused += 1
            assert str(error).startswith(f"{file}: ")  # noqa: PT017 - either outcome is right
            assert len(str(error).splitlines()) == 1  # noqa: PT017
    assert n_refused > N_MUTATIONS / 2
    file.write_bytes(content)
    assert is_same(load_model(place))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value inside nested tables and lists."""
    if not isinstance(value, dict | list):
        yield path
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(item, (*path, key))


@pytest.mark.parametrize("form", ["m", "m.json"])
def test_every_edited_value_of_a_manifest_is_refused_with_the_file(tmp_path: Path, form: str) -> None:
    place = save_model(model(), tmp_path / form)
    file = place if place.is_file() else place / "model.json"
    content = json.loads(file.read_text())
    paths = list(leaves(content))
    assert len(paths) > 60
    for *steps, last in paths:
        edited = json.loads(json.dumps(content))
        table = edited
        for step in steps:
            table = table[step]
        value = table[last]
        table[last] = not value if isinstance(value, bool) else -value if isinstance(value, float) else 2
        if isinstance(value, str):
            table[last] = f"{value}x"
        if table[last] == value:
            continue
        file.write_text(json.dumps(edited))
        with pytest.raises(ConfigError, match=str(file)):
            load_model(place)


@pytest.mark.parametrize("key", ["factor", "centre"])
def test_a_negated_scaling_is_refused(tmp_path: Path, key: str) -> None:
    place = save_model(model(), tmp_path / "m")
    content = json.loads((place / "model.json").read_text())
    content["encoding"][key] = [-number for number in content["encoding"][key]]
    (place / "model.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r'model\.json: "digest" must be .*The file is damaged or was edited\.'):
        load_model(place)


def test_names_of_classes_that_were_swapped_are_refused(tmp_path: Path) -> None:
    place = save_model(model(), tmp_path / "m.json")
    content = json.loads(place.read_text())
    content["classes"].reverse()
    place.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match='"digest" must be'):
        load_model(place)


def test_the_layout_and_the_order_of_a_manifest_do_not_matter(tmp_path: Path) -> None:
    place = save_model(model(), tmp_path / "m.json")
    content = json.loads(place.read_text())
    for order in (sorted(content), sorted(content, reverse=True)):
        place.write_text(json.dumps({key: content[key] for key in order}, indent=3))
        assert is_same(load_model(place))


@pytest.mark.parametrize("text", ["\\ud800", "a\\udfffb"])
def test_half_a_character_in_the_name_of_a_class_is_refused(tmp_path: Path, text: str) -> None:
    place = save_model(model(), tmp_path / "m.json")
    place.write_text(place.read_text().replace(f'"{model().classes[0]}"', f'"{text}"', 1))
    with pytest.raises(ConfigError, match=r'm\.json: "classes": must be valid Unicode, got .*\\ud'):
        load_model(place)


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


NOT_REGULAR: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (make_pipe, "must be a regular file, got a pipe"),
    "a device": (lambda file: file.symlink_to("/dev/zero"), "must be a regular file, got a device"),
    "a folder": (Path.mkdir, "must be a regular file, got a folder"),
    "a sparse file": (lambda file: (file.touch(), os.truncate(file, 2 << 30)), "must have at most|cannot be read"),
}


@pytest.mark.parametrize(("make", "problem"), NOT_REGULAR.values(), ids=NOT_REGULAR)
@pytest.mark.parametrize(("form", "name"), [("m", "model.json"), ("m", "weights.npz"), ("m.json", "")])
def test_what_is_not_a_regular_file_of_a_reasonable_size_is_refused_at_once(
    tmp_path: Path, form: str, name: str, make: Callable[[Path], object], problem: str
) -> None:
    place = save_model(model(), tmp_path / form)
    file = place / name if name else place
    file.unlink()
    make(file)
    started = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=rf"{file}: ({problem})"):
            load_model(place)
        if name != "weights.npz":
            with pytest.raises(ConfigError, match="is not a saved model"):
                check_writable(place)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        '{"a": ' + "[" * 500_000,
        '{"theta": [' + "1," * (MAX_FILE // 4) + "1]}",
        '{"format": [' + "{}," * (MAX_MANIFEST // 4) + "1]}",
        '{"a": ' + "9" * 5000 + "}",
    ],
    ids=["nested", "many numbers", "many tables", "many digits"],
)
def test_hostile_json_is_refused_with_little_memory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.json"
    file.write_text(text)
    del text
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=r"m\.json: "):
            load_model(file)
        assert tracemalloc.get_traced_memory()[1] < 240 << 20
    finally:
        tracemalloc.stop()


def test_a_model_too_large_for_a_file_is_refused_and_can_be_saved_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlp.model_io.MAX_FILE", 500)
    problem = r"m\.json: the model is too large for a single file\. Give the path of a folder"
    with pytest.raises(ConfigError, match=problem):
        save_model(model(), tmp_path / "m.json")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert is_same(load_model(save_model(model(), tmp_path / "m")))


def test_the_numbers_of_a_file_are_read_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = save_model(model(), tmp_path / "m.json")
    for size in (1, 7, 100, 1 << 20):
        monkeypatch.setattr("mlp.model_contents.CHUNK", size)
        assert is_same(load_model(place))
