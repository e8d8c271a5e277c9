"""Turns the weights inside two Python wheels into the model directories that `rag embed` reads.

    python3 convert.py WHEELS OUT

One form for every static model: a matrix of token vectors, optionally a mapping from token to row and a
weight for each token.

    OUT/<name>/model.safetensors   tensor `vectors` [rows, dimensions] in F32, F16 or I8; optional `mapping`
                                   [tokens] in I32; optional `weights` [tokens] in F32
    OUT/<name>/tokenizer.json      as it is
    OUT/<name>/config.json         {format, name, revision, dimensions, dtype, pooling, normalize, tokens}

Standard library only: a user's machine has no numpy. Each directory appears whole or not at all, and one
that is already there with the same content is left alone.
"""

import array
import hashlib
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import zipfile

# What each wheel holds. `tensors` maps our tensor names to those of the wheel.
MODELS = [
    {
        "wheel": "wordllama-0.4.0.post1-",
        "weights": "wordllama/weights/l2_supercat_256.safetensors",
        "tokenizer": "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
        "directory": "wordllama",
        "name": "wordllama-l2-supercat",
        "revision": "256",
        "pooling": "mean",
        "normalize": False,
        "tensors": {"vectors": "embedding.weight"},
    },
    {
        "wheel": "tokenlearn_static_model-0.1.1-",
        "weights": "static_model/model/model.safetensors",
        "tokenizer": "static_model/model/tokenizer.json",
        "directory": "tokenlearn",
        "name": "tokenlearn-static-model",
        "revision": "0.1.1",
        "pooling": "weightedMean",
        "normalize": True,
        "tensors": {"vectors": "embeddings", "mapping": "mapping", "weights": "weights"},
    },
]


def read_safetensors(data):
    """Name -> (dtype, shape, bytes)."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    base = 8 + length
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], data[base + start : base + end])
    return tensors


def write_safetensors(tensors):
    """The file's bytes; tensors in the order of their names, the header padded to 8 bytes."""
    header, body = {}, b""
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def narrowed(tensor):
    """A mapping of 64-bit row numbers as 32-bit ones: half the bytes, the same rows."""
    dtype, shape, data = tensor
    if dtype != "I64":
        return tensor
    numbers = array.array("q")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return ("I32", shape, struct.pack("<%di" % len(numbers), *numbers))


def files_of(model, wheel):
    """File name -> bytes of one model directory."""
    with zipfile.ZipFile(wheel) as archive:
        found = read_safetensors(archive.read(model["weights"]))
        tokenizer = archive.read(model["tokenizer"])
    tensors = {ours: narrowed(found[theirs]) for ours, theirs in model["tensors"].items()}
    dtype, (_, dimensions), _ = tensors["vectors"]
    tokens = tensors["mapping"][1][0] if "mapping" in tensors else tensors["vectors"][1][0]
    config = {
        "format": "static",
        "name": model["name"],
        "revision": model["revision"],
        "dimensions": dimensions,
        "dtype": dtype,
        "pooling": model["pooling"],
        "normalize": model["normalize"],
        "tokens": tokens,
    }
    return {
        "model.safetensors": write_safetensors(tensors),
        "tokenizer.json": tokenizer,
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }


def same(directory, files):
    """Whether the directory holds exactly these bytes."""
    return all(
        (directory / name).is_file()
        and hashlib.sha256((directory / name).read_bytes()).digest() == hashlib.sha256(data).digest()
        for name, data in files.items()
    )


def place(out, name, files):
    """Writes a directory beside its place and renames it there."""
    target = out / name
    if same(target, files):
        print(f"{target}: up to date")
        return
    out.mkdir(parents=True, exist_ok=True)
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}-", dir=out))
    for file, data in files.items():
        (fresh / file).write_bytes(data)
    fresh.chmod(0o755)
    if target.exists():
        shutil.rmtree(target)
    os.rename(fresh, target)
    print(f"{target}: written, {sum(len(data) for data in files.values())} bytes")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    wheels, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for model in MODELS:
        found = sorted(wheels.glob(model["wheel"] + "*.whl"))
        if not found:
            sys.exit(f"no wheel {model['wheel']}*.whl in {wheels}; run `make models`, which downloads it")
        place(out, model["directory"], files_of(model, found[0]))


if __name__ == "__main__":
    main()
