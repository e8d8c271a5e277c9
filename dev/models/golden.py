"""Computes the vectors that `tests/embed.rs` expects, from the wheels and with other people's code.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3 numpy==2.4.6
    V/bin/python golden.py WHEELS > tests/golden/static_models.json

Needed only when a model or a text changes; the result is committed.
"""

import io
import json
import pathlib
import sys
import zipfile

import numpy as np
from tokenizers import Tokenizer

from convert import MODELS, read_safetensors

TEXTS = [
    "How long may a document be?",
    "the quick brown fox jumps over the lazy dog",
    "Wie lange muss ich Rechnungen aufbewahren?",
    "日本語のテキスト ☃ 😀",
    "fn main() { println!(\"{}\", 42); }",
    "a",
    "  leading, trailing  and   double spaces  ",
    "special <s> </s> <unk> <pad> words",
    "cut " * 400 + "here " * 400,
]
# Tokens of one text that count.
LIMIT = 512
NUMPY = {"F32": "<f4", "F16": "<f2", "I8": "i1", "I64": "<i8"}


def tensor(entry):
    dtype, shape, data = entry
    return np.frombuffer(data, NUMPY[dtype]).reshape(shape)


def vectors(model, wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = read_safetensors(archive.read(model["weights"]))
        tokenizer = Tokenizer.from_str(archive.read(model["tokenizer"]).decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    names = model["tensors"]
    matrix = tensor(found[names["vectors"]]).astype(np.float32)
    for text in TEXTS:
        ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids[:LIMIT])
        rows = matrix[tensor(found[names["mapping"]])[ids]] if "mapping" in names else matrix[ids]
        if "weights" in names:
            rows = rows * tensor(found[names["weights"]])[ids][:, None]
        mean = rows.mean(axis=0, dtype=np.float64)
        if model["normalize"]:
            mean = mean / np.linalg.norm(mean)
        yield [float(f"{value:.7g}") for value in mean]


def main():
    wheels = pathlib.Path(sys.argv[1])
    out = io.StringIO()
    out.write('{"limit": %d,\n"texts": %s' % (LIMIT, json.dumps(TEXTS)))
    for model in MODELS:
        (wheel,) = wheels.glob(model["wheel"] + "*.whl")
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in vectors(model, wheel))
        out.write(',\n"%s": [\n%s]' % (model["directory"], rows))
    print(out.getvalue() + "}")


if __name__ == "__main__":
    main()
