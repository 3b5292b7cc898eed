"""A signed bundle is the one that the owner of the key made, and nothing in it is another byte."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cgan_bench.target import Target, target_of_bundle
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.manifest import MANIFEST, SIGNATURE
from cgan_runtime.runners import RUNNERS, RunnerKind
from cgan_runtime.serving.repository import RepositoryOptions, write_repository
from cgan_runtime.signing import require_private_key, sign
from PIL import Image

from tests.helpers import assert_one_sentence, run_command, run_here

pytest.importorskip("model_signing", reason='pip install "cgan-deploy[signing]"')


def make_keys(folder: Path, curve: str = "SECP256R1") -> tuple[Path, Path]:
    """A private and a public key as PEM files, as openssl writes them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(getattr(ec, curve)())
    private, public = folder / "key.pem", folder / "key.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys") / "ours")


def sign_bundle(root: Path, private: Path) -> None:
    files = (*read_bundle(root).manifest.all_files, file_entry(root, MANIFEST))
    sign(root, {file.path: file.sha256 for file in files}, private)


@pytest.fixture
def signed(tmp_path: Path, bundle_path: Path, keys: tuple[Path, Path]) -> Path:
    root = Path(shutil.copytree(bundle_path, tmp_path / "facades"))
    sign_bundle(root, keys[0])
    return root


def test_a_signed_bundle_is_read_with_its_key_and_without(signed: Path, keys: tuple[Path, Path]) -> None:
    assert read_bundle(signed, require_signature=keys[1]).is_signed
    assert not read_bundle(signed).is_signed


@pytest.mark.parametrize("curve", ["SECP384R1", "SECP521R1"])
def test_every_curve_that_openssl_is_asked_for_will_do(signed: Path, tmp_path: Path, curve: str) -> None:
    private, public = make_keys(tmp_path / "more", curve)
    sign_bundle(signed, private)
    assert read_bundle(signed, require_signature=public).is_signed


def test_the_statement_is_one_that_the_library_itself_verifies(signed: Path, keys: tuple[Path, Path]) -> None:
    import model_signing.verifying

    config = model_signing.verifying.Config()  # type: ignore[no-untyped-call]  # theirs, without annotations
    config = config.use_elliptic_key_verifier(public_key=keys[1])
    config.verify(signed, signed / SIGNATURE)
    (signed / "README.md").write_text("changed")
    with pytest.raises(ValueError, match=r"README\.md"):
        config.verify(signed, signed / SIGNATURE)


def rewrite(root: Path, name: str) -> None:
    """Change a file and give the bundle a manifest that fits: every hash is right again."""
    manifest = read_bundle(root).manifest
    (root / name).write_bytes((root / name).read_bytes() + b" ")
    entries = {file.path: file for file in manifest.files}
    entries[name] = file_entry(root, name)
    write_manifest(root, manifest.model_copy(update={"files": tuple(entries.values())}))


def another_file(root: Path) -> None:
    rewrite(root, "README.md")


def another_golden_file(root: Path) -> None:
    rewrite(root, "golden/0-picture.png")


def another_name(root: Path) -> None:
    write_manifest(root, read_bundle(root).manifest.model_copy(update={"name": "palaces"}))


def one_file_less(root: Path) -> None:
    manifest = read_bundle(root).manifest
    (root / "report.html").unlink()
    files = tuple(file for file in manifest.files if file.path != "report.html")
    write_manifest(root, manifest.model_copy(update={"files": files}))


def no_signature(root: Path) -> None:
    (root / SIGNATURE).unlink()


def an_empty_signature(root: Path) -> None:
    (root / SIGNATURE).write_bytes(b"")


def a_deep_signature(root: Path) -> None:
    (root / SIGNATURE).write_bytes(b"[" * 500_000)


def a_huge_signature(root: Path) -> None:
    with (root / SIGNATURE).open("r+b") as stream:
        stream.truncate(1 << 40)


def another_statement(root: Path) -> None:
    document = json.loads((root / SIGNATURE).read_text())
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = payload[:-8] + payload[:8]
    (root / SIGNATURE).write_text(json.dumps(document))


def no_signatures_in_it(root: Path) -> None:
    document = json.loads((root / SIGNATURE).read_text())
    document["dsseEnvelope"]["signatures"] = []
    (root / SIGNATURE).write_text(json.dumps(document))


FORGERIES = [
    another_file,
    another_golden_file,
    another_name,
    one_file_less,
    no_signature,
    an_empty_signature,
    a_deep_signature,
    a_huge_signature,
    another_statement,
    no_signatures_in_it,
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
def test_a_forged_bundle_is_refused_where_a_signature_is_required(
    signed: Path, keys: tuple[Path, Path], forge: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    forge(signed)
    read_bundle(signed)  # every hash is right: the signature alone tells
    with pytest.raises(BundleError, match="signed") as refusal:
        read_bundle(signed, require_signature=keys[1])
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1000
    assert capsys.readouterr().out == ""


def test_the_signature_of_somebody_else_is_refused(signed: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "theirs")
    with pytest.raises(BundleError, match="is not what the owner of"):
        read_bundle(signed, require_signature=public)
    sign_bundle(signed, private)
    assert read_bundle(signed, require_signature=public).is_signed


@pytest.mark.parametrize("content", [None, b"", b"no key", b"\xff" * 40])
def test_a_key_that_is_none_is_a_usage_error(signed: Path, tmp_path: Path, content: bytes | None) -> None:
    key = tmp_path / "bad.pem"
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.pem cannot be used as a public key"):
        read_bundle(signed, require_signature=key)
    with pytest.raises(UsageError, match=r"bad\.pem cannot be used to sign"):
        require_private_key(key)


def test_every_command_requires_a_signature_where_it_is_told_to(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    commands: list[tuple[str | Path, ...]] = [
        ("cgan-translate", tmp_path / "in.png", "--bundle", signed),
        ("cgan-generate", "--bundle", signed),
        ("cgan-serve", signed, "--triton-repo", tmp_path / "repository"),
        ("cgan-export", "verify", signed),
        ("cgan-export", "compare", signed, signed),
        ("cgan-bench", signed),
    ]
    another_name(signed)
    Image.new("RGB", (64, 64)).save(tmp_path / "in.png")
    for words in commands:
        done = run_here(*words, "--require-signature", keys[1])
        assert_one_sentence(done, 3, "is not what the owner of")
    done = run_here("cgan-generate", "--url", "grpc://127.0.0.1:9", "--model", "x", "--require-signature", keys[1])
    assert_one_sentence(done, 2, "--require-signature is for a bundle")


@pytest.mark.slow
def test_an_export_signs_its_bundle(checkpoint: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "facades"
    done = run_here("cgan-export", checkpoint, "-o", out, "--sign", keys[1])
    assert_one_sentence(done, 2, "cannot be used to sign")
    assert run_here("cgan-export", checkpoint, "-o", out, "--sign", keys[0]).returncode == 0
    assert read_bundle(out, require_signature=keys[1]).is_signed
    assert run_here("cgan-export", checkpoint, "-o", out, "--force").returncode == 0
    assert not (out / SIGNATURE).exists()


def test_a_benchmark_requires_the_signature_and_its_workers_know(signed: Path, keys: tuple[Path, Path]) -> None:
    """An artifact that may hold code runs in a worker, which gets the bundle as it was read here."""
    target = target_of_bundle(signed, require_signature=keys[1])
    sent: Target = pickle.loads(pickle.dumps(target))
    assert sent.bundle is not None
    assert sent.bundle.is_signed
    brief = ("--rounds", "1", "--warmup", "0", "--require-signature", keys[1])
    done = run_here("cgan-bench", signed, *brief, PATH="", CXX="")
    assert done.returncode == 0, done.stderr


def test_the_newer_of_two_bundles_is_held_to_the_signature_too(
    signed: Path, bundle_path: Path, keys: tuple[Path, Path]
) -> None:
    for bundles in ((signed, bundle_path), (bundle_path, signed)):
        done = run_here("cgan-export", "compare", *bundles, "--require-signature", keys[1])
        assert_one_sentence(done, 3, f"{bundle_path} is not signed")


@pytest.mark.slow
def test_a_bundle_is_signed_by_the_command_of_the_library(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """A bundle that was exported without --sign, and one that is signed anew by another key."""
    others = make_keys(tmp_path / "others")
    (signed / SIGNATURE).unlink()
    for private, public in (keys, others):
        words = ("--private_key", private, "--signature", signed / SIGNATURE)
        done = run_command("model_signing", "sign", "key", signed, *words)
        assert done.returncode == 0, done.stderr
        assert read_bundle(signed, require_signature=public).is_signed
    done = run_command("model_signing", "sign", "key", signed, *words, "--ignore-paths", signed / "README.md")
    assert done.returncode == 0, done.stderr
    with pytest.raises(BundleError, match="is not what the owner of"):
        read_bundle(signed, require_signature=others[1])


def test_without_the_library_the_extra_is_named(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "model_signing", None)
    with pytest.raises(CganError, match=r'pip install "cgan-deploy\[signing\]"'):
        read_bundle(signed, require_signature=keys[1])


def test_an_artifact_that_may_hold_code_needs_a_signature(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RUNNERS["onnxruntime"]
    monkeypatch.setitem(RUNNERS, "onnxruntime", RunnerKind(name=plain.name, module=plain.module, runs_code=True))
    unsigned: Bundle = read_bundle(signed)
    for use in (unsigned.runner, lambda: write_repository(tmp_path / "r", unsigned, RepositoryOptions())):
        with pytest.raises(BundleError, match=r"may hold program code.*--require-signature"):
            use()
    assert not (tmp_path / "r").exists()
    read_bundle(signed, require_signature=keys[1]).runner().close()
