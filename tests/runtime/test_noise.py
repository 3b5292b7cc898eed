"""The published vectors of seeded noise, version 1, and its laws."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cgan_runtime.noise import keep, noise, parse_seed, raw_words

TOP = 2**64 - 1

WORDS = {
    (7, 0, 0): ("7580f6f3 d5210af8 823bb581 5a89d973 892f9ea9 15f02b1e 32a30e48 7e78fb1c", 4109, 5721),
    (7, 1, 0): ("374837ff 35dda35e 54a11ca1 87593674 1977ccd6 9436c56e 7e1162fe f5c69965", 4164, 5758),
    (7, 0, 1): ("4c52b5ec 99c9683e b1b66af8 e5595472 8b00664c d4d74b7c 68d35b3f ee0843a2", 4054, 5699),
    (7, 1, 3): ("7113c6a6 543e94de 3df15c48 2b5806a7 c29fd0c7 88799822 b11974e6 5234a961", 4080, 5677),
    (TOP, 2, 0): ("5a2902d4 4f4d99fb e508a108 ae4a8b54 d1468a0b 8b921faa fb55c922 434d3004", 4089, 5764),
    (0, 0, 0): ("b8f816c6 57994a7d 228b3028 93967384 c3fe6350 162ed305 c8da1be9 a2b235f1", 4018, 5735),
    (2**53, 0, 0): ("df1a8389 224e3f0d bd37891d 7e30bc5e", None, None),
    (2**53 + 1, 0, 0): ("6593901d a0399d18 b164d4b8 d0b9ea1f", None, None),
    (2**63, 0, 0): ("099ff944 38191cf0 4b8b5ca3 0393ce31", None, None),
}

KEEP_HASHES = {
    (7, 0, 0, 0.5, 8192): "325849105f7409aabd810c9944cc22944a1b3f1f7a44b1917109825d8f6a6bb6",
    (7, 0, 0, 0.3, 8192): "b89e8b732dbcc0cfb3363550cf45ecf96d310ac262a0a0bdd10392132ce88992",
    (7, 0, 0, 0.3, 1000): "bcebc6f617c22d43608cf364e782e20f3aae511f46bed6e7344a97810b485c80",
    (7, 1, 0, 0.5, 8192): "819ea9e4e3172ab1f6e43dd9216dd6d512b4080582a45e9dcfdafed56774b80e",
    (7, 0, 1, 0.5, 8192): "208a9045756c8b00c68457a0afcdb8d8dd8b53f11cc2bf4c4c62f07e13f928b1",
    (7, 1, 3, 0.5, 8192): "ad96c1741989c7f128cb1346e4b4c3f608a10035d9eba12ebe81cfd11d511e2a",
    (TOP, 2, 0, 0.5, 8192): "1f1d14b92c08e3c04d0493a74e0135263d2212d32e518f34fe3277d88a14b1ab",
    (0, 0, 0, 0.5, 8192): "9f776fec404e926b0ca70113d33747c3b70d8dad670be20a3a316e8a0e58c0db",
}

NORMALS = {
    (7, 0, 0): (0.61855596, -1.0838832, -0.70485675, 0.9245961),
    (7, 1, 3): (-0.60936975, 1.1237798, 0.8179447, 1.4727179),
    (TOP, 2, 0): (-0.52995676, 1.3439957, -0.19867672, -0.42795336),
    (0, 0, 0): (-0.44128472, 0.67471856, -1.7746007, -0.9255789),
}

FLOAT_HASHES = {
    ("uniform01", 8192): "a19138f7814ee55ce159a1a216ba90d641371f2ab1f62d21fab1fe46d41aecd9",
    ("uniform11", 8192): "f912b29b907d88b584f3dabf150698f3e26c5b9874b9e3c0c766ef116b8af9f3",
}


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.mark.parametrize("triple", WORDS)
def test_words(triple: tuple[int, int, int]) -> None:
    text, _, _ = WORDS[triple]
    seed, tensor, draw = triple
    expected = [int(word, 16) for word in text.split()]
    assert raw_words(len(expected), seed=seed, tensor=tensor, draw=draw).tolist() == expected


def test_hash_of_8192_words() -> None:
    words = raw_words(8192, seed=7, tensor=0).astype("<u4")
    assert sha(words) == "f226dacf246497b60ea11094a68b0abf9d3f6ea1747309627c7aea25ac20cf40"


@pytest.mark.parametrize("case", [k for k, v in WORDS.items() if v[1] is not None])
def test_number_kept(case: tuple[int, int, int]) -> None:
    seed, tensor, draw = case
    counts = [int(keep(8192, p, seed=seed, tensor=tensor, draw=draw).sum()) for p in (0.5, 0.3)]
    assert tuple(counts) == WORDS[case][1:]


@pytest.mark.parametrize("case", KEEP_HASHES)
def test_keep_bits(case: tuple[int, int, int, float, int]) -> None:
    seed, tensor, draw, p, count = case
    assert sha(keep(count, p, seed=seed, tensor=tensor, draw=draw)) == KEEP_HASHES[case]


def test_the_three_masks_of_a_unet_256() -> None:
    sizes = (512 * 4 * 4, 512 * 8 * 8, 512 * 16 * 16)
    joined = np.concatenate([keep(n, 0.5, seed=7, tensor=t) for t, n in enumerate(sizes)])
    assert int(joined.sum()) == 85_688
    assert sha(joined) == "85b12bf213ad7e0611b957da6b3cfc4d8f2bc0c4ce1d28cc92d22fd065b9735b"


@pytest.mark.parametrize("triple", NORMALS)
def test_normals_within_one_unit_in_the_last_place(triple: tuple[int, int, int]) -> None:
    seed, tensor, draw = triple
    values = noise("normal", (4,), seed=seed, tensor=tensor, draw=draw)
    np.testing.assert_array_max_ulp(values, np.array(NORMALS[triple], dtype=np.float32), maxulp=1)


@pytest.mark.parametrize("case", FLOAT_HASHES)
def test_uniforms(case: tuple[str, int]) -> None:
    name, count = case
    assert sha(noise(name, (count,), seed=7, tensor=0).astype("<f4")) == FLOAT_HASHES[case]


def test_variants() -> None:
    loose = noise("truncated_normal", (128,), seed=7, tensor=0, parameters={"c": 2})
    tight = noise("truncated_normal", (128,), seed=7, tensor=0, parameters={"c": 0.5})
    on_sphere = noise("hypersphere", (512,), seed=7, tensor=0)
    scaled = noise("hypersphere_sqrt_n", (512,), seed=7, tensor=0)
    plain = noise("normal", (133,), seed=7, tensor=0)
    np.testing.assert_array_equal(loose, plain[np.abs(plain) <= 2][:128])
    np.testing.assert_array_max_ulp(
        tight[:4], np.array([0.0674738, -0.14008905, 0.15025099, 0.24814303], dtype=np.float32), maxulp=1
    )
    np.testing.assert_array_max_ulp(
        on_sphere[:2], np.array([0.028011158, -0.049083386], dtype=np.float32), maxulp=1
    )
    np.testing.assert_array_max_ulp(scaled[:2], np.array([0.6338201, -1.1106302], dtype=np.float32), maxulp=1)
    assert np.linalg.norm(on_sphere.astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_kept_values_are_the_exact_multiplier() -> None:
    half = noise("mask", (64,), seed=7, tensor=0, parameters={"p": 0.5})
    third = noise("mask", (64,), seed=7, tensor=0, parameters={"p": 0.3})
    assert set(half.tolist()) == {0.0, 2.0}
    assert third[third > 0].view(np.uint32)[0] == 0x3FB6DB6E
    assert noise("mask", (64,), seed=7, tensor=0, parameters={"p": 0.0}).tolist() == [1.0] * 64


@pytest.mark.parametrize("name", ["mask", "uniform01", "uniform11", "normal", "truncated_normal"])
@pytest.mark.parametrize("short", [1, 7, 63])
def test_a_shorter_tensor_is_the_beginning_of_a_longer_one(name: str, short: int) -> None:
    options = {"p": 0.5, "c": 0.5}
    long = noise(name, (64,), seed=3, tensor=1, parameters=options)
    np.testing.assert_array_equal(noise(name, (short,), seed=3, tensor=1, parameters=options), long[:short])


def test_seeds_that_a_list_key_would_confuse() -> None:
    assert not np.array_equal(raw_words(8, seed=TOP, tensor=0), raw_words(8, seed=0, tensor=0))
    assert not np.array_equal(raw_words(8, seed=2**63 + 1, tensor=0), raw_words(8, seed=2**63, tensor=0))


def test_neighbouring_triples_share_no_word() -> None:
    seen = [tuple(raw_words(64, seed=s, tensor=t, draw=d).tolist()) for s in (5, 6) for t in (0, 1) for d in (0, 1)]
    assert len({word for words in seen for word in words}) > 8 * 64 - 3


def test_keep_rate_is_plausible() -> None:
    assert abs(int(keep(8192, 0.5, seed=11, tensor=0).sum()) - 4096) < 181


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 2**64), ("tensor", -1), ("tensor", 2**32), ("draw", -1), ("draw", 2**32)],
)
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    arguments = {"seed": 0, "tensor": 0, "draw": 0, name: value}
    with pytest.raises(ValueError, match=f"{name} must be 0 to"):
        raw_words(4, **arguments)


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_probabilities_out_of_range_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        keep(4, p, seed=0, tensor=0)


def test_a_word_equal_to_the_threshold_is_kept() -> None:
    first, second = 0x7580F6F3, 0xD5210AF8  # of seed 7, tensor 0, draw 0
    assert keep(2, first / 2**32, seed=7, tensor=0).tolist() == [1, 1]
    assert keep(2, (first + 1) / 2**32, seed=7, tensor=0).tolist() == [0, 1]
    assert keep(2, second / 2**32, seed=7, tensor=0).tolist() == [0, 1]


def test_unknown_distributions_and_cuts_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown distribution 'poisson'; known: mask"):
        noise("poisson", (4,), seed=0, tensor=0)
    with pytest.raises(ValueError, match=r"at least 0\.1"):
        noise("truncated_normal", (4,), seed=0, tensor=0, parameters={"c": 0.05})


@pytest.mark.parametrize("value", [0, 7, 2**53 - 1, "0", "7", "9007199254740993", "18446744073709551615"])
def test_seeds_from_json(value: object) -> None:
    assert parse_seed(value) == int(str(value))


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -1,
        1.0,
        True,
        None,
        "",
        "+7",
        "-7",
        "07",
        "7.0",
        "1e3",
        "0x10",
        " 7",
        "\u0667",
        "18446744073709551616",
    ],
)
def test_ambiguous_seeds_in_json_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="seed"):
        parse_seed(value)
