"""What the README says is what happens: its code blocks run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY, free_ports

README = (REPOSITORY / "README.md").read_text()
# The same commands on a smaller net and for seconds instead of minutes.
SMALLER = {
    "--size 128 --ngf 32 --ndf 32": "--size 64 --ngf 8 --ndf 8 --no-evaluate",
    "--images 5000": "--images 40",
    "--images 24": "--images 4",
    "--width 32 --images 1280": "--width 8 --images 256",
    "cgan-bench emoji --batch 1": "cgan-bench emoji --batch 1 --rounds 3",
    "--concurrency 1,4": "--concurrency 1,4 --seconds 1",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("server_environment")
@pytest.mark.timeout(600)
def test_the_five_minutes_work(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(blocks("bash"))
    for long, short in SMALLER.items():
        assert long in script, f"the README no longer says {long!r}"
        script = script.replace(long, short)
    ports = free_ports()
    assert "cgan-serve emoji &" in script
    numbers = f"--http-port {ports.http} --grpc-port {ports.grpc} --metrics-port {ports.metrics}"
    script = script.replace("cgan-serve emoji &", f"cgan-serve emoji {numbers} > served.txt &\nSERVER=$!\n{WAIT}")
    script = script.replace("127.0.0.1:8001", f"127.0.0.1:{ports.grpc}")
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["bash", "-c", script + "\nkill $SERVER; wait $SERVER\n"],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=550)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output[-3000:]
    assert {p.name for p in (tmp_path / "four").iterdir()} == {f"0-condition-{draw}.png" for draw in range(4)}
    code = "\n".join(blocks("python")) + "\nassert pixels.shape == (64, 64, 3)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", ports.http)) != 0:
                return
        time.sleep(0.2)
    pytest.fail("the README's server is still there")


WAIT = "for _ in $(seq 600); do grep -q ^ready served.txt && break; sleep 0.1; done"


def test_the_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in ("demo", "quick", "test", "coverage", "gpu-check"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "exec make test" in (REPOSITORY / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", sorted(p.relative_to(REPOSITORY).as_posix() for p in REPOSITORY.glob("docs/*.md")))
def test_every_page_is_linked_from_the_readme(page: str) -> None:
    assert page in README


@pytest.mark.parametrize(
    "page",
    [
        *(
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "docs/architecture.md",
            "docs/clients.md",
            "docs/design.md",
            "docs/extending.md",
        ),
        *(f"{s}/README.md" for s in ("trainer", "export", "runtime", "bench")),
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (path.parent / target).exists(), f"{page} links to {target}"


def test_the_trainers_readme_begins_with_the_same_commands() -> None:
    text = (REPOSITORY / "trainer" / "README.md").read_text()
    (block,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for command in block.replace("\\\n", "").splitlines():
        assert " ".join(command.split()) in " ".join(README.replace("\\\n", "").split()), command


@pytest.mark.parametrize("stage", ["trainer", "runtime", "bench", "export"])
def test_a_stages_readme_lists_its_files(stage: str) -> None:
    """In ten minutes someone new knows where everything is; what is not listed is not known."""
    text = (REPOSITORY / stage / "README.md").read_text()
    package = REPOSITORY / stage / f"cgan_{stage}"
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        parts = [name, *(f"{parent.as_posix()}/" for parent in Path(name).parents if parent.as_posix() != ".")]
        if path.name not in ("__init__.py", "__main__.py"):
            assert any(f"`{part}`" in text for part in parts), f"{stage}/README.md does not mention {name}"
