"""One tritonserver over a repository folder: start it, ask whether it serves, watch its processes, end it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

from cgan_runtime.errors import CganError
from cgan_runtime.processes import stopping_with_parent
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.leftovers import region_prefix, remove_regions
from cgan_runtime.serving.ports import Ports, reachable_host
from cgan_runtime.serving.process_tree import OWNER_VARIABLE, children, look, own_mark
from cgan_runtime.serving.traces import Traces, otel_variables, triton_trace_options

__all__ = ["TritonProcess"]

KEPT_LINES: Final = 5000
LOAD_SECONDS: Final = 120.0
ANSWER_SECONDS: Final = 5.0
ADMIN_HEADER: Final = "x-cgan-admin"


@final
class TritonProcess:
    """A tritonserver that was started; it is ready once `is_ready` says so.

    Its processes are watched from then on: Triton neither restarts a model's process nor calls the model unready.

    Args:
        environment: what to run.
        folder: holds the repository, `models`, and the server's home.
        models: to load, the engine of each bundle before the models that call it.
        host: address to bind.
        ports: to bind.
        drain_seconds: longest wait for requests in flight at the end.
        start: number of this start in this process; it names the shared memory.
        traces: where it sends its spans; None: nowhere.
        say: told each line that the server writes.
    """

    def __init__(
        self,
        environment: ServerEnvironment,
        folder: Path,
        models: Sequence[str],
        *,
        host: str,
        ports: Ports,
        drain_seconds: int,
        start: int,
        traces: Traces | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.ports, self.start = ports, start
        self.began = time.monotonic()
        self._models = tuple(models)
        self._address = (reachable_host(host), ports.http)
        self._drain_seconds = drain_seconds
        self._regions = region_prefix(start)
        self._admin_key = secrets.token_hex(16)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._watched: dict[int, str] = {}
        home = folder / "home"
        home.mkdir(exist_ok=True)
        command = self._command_line(environment, folder / "models", host)
        variables = {**environment.variables(home), OWNER_VARIABLE: own_mark()}
        if traces is not None:
            command += triton_trace_options(traces)
            variables |= otel_variables(os.environ)
        self._process = subprocess.Popen(
            stopping_with_parent(command),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, after draining
        )
        threading.Thread(target=self._read, args=(say,), daemon=True).start()

    @property
    def process_id(self) -> int:
        """The process id of tritonserver."""
        return self._process.pid

    @property
    def grpc_url(self) -> str:
        """URL for gRPC clients."""
        return f"grpc://{self._address[0]}:{self.ports.grpc}"

    @property
    def log(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._lines)

    def failure(self, trouble: str) -> str:
        """Why it never served: what was seen, and the last line of its log that reports an error."""
        return f"{trouble} while starting: {self.reason}"

    @property
    def reason(self) -> str:
        """The last line of the log that reports an error, else its last line."""
        lines = [line for line in list(self._lines) if line.strip()]
        telling = [line for line in lines if " E " in line or line.startswith("E") or "rror" in line]
        return (telling or lines or ["it wrote no log"])[-1][-400:].strip()

    def is_ready(self) -> bool:
        """Whether every model answers; from the first time on the processes of the models are watched."""
        ready = all(self._asked(f"/v2/models/{name}/ready") for name in self._models)
        if ready and not self._watched:
            self.watch(self._models)
        return ready

    def trouble(self) -> str | None:
        """What is wrong with a process of it, in words; None where all of them run."""
        if (status := self._process.poll()) is not None:
            return f"tritonserver (process {self.process_id}) {_ending(status)}"
        for process, what in {self.process_id: "tritonserver", **self._watched}.items():
            if (seen := look(process)) is None or not seen.works:
                how = "was stopped" if seen is not None and seen.state == "T" else "ended"
                return f"{what} (process {process}) {how}"
        return None

    def watch(self, models: Sequence[str]) -> None:
        """Watch the processes of these models, those that run now, and no others."""
        self._watched = {process: name for process, name in self._model_processes().items() if name in models}

    def forget(self, models: Sequence[str]) -> None:
        """Watch the processes of these models no longer."""
        self._watched = {process: name for process, name in self._watched.items() if name not in models}

    def load(self, name: str) -> None:
        """Load a model of the repository folder.

        Processes of the same model end some time after it was unloaded: they are waited for, so that nobody takes
        them for those of the new one.

        Raises:
            CganError: it could not be loaded; Triton's reason is in the log.
        """
        deadline = time.monotonic() + LOAD_SECONDS
        while name in self._model_processes().values() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self._asked(f"/v2/repository/models/{name}/load", load=True, seconds=LOAD_SECONDS):
            raise CganError(f"Triton could not load {name}: {self.reason}")

    def unload(self, name: str) -> bool:
        """Unload a model; requests in flight end first. Whether it was accepted."""
        return self._asked(f"/v2/repository/models/{name}/unload", load=True)

    def end(self) -> int:
        """End it by SIGTERM, which lets requests in flight end; remove what it leaves; returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._drain_seconds + 10)
        return self.kill()

    def kill(self) -> int:
        """End every process of it at once, and remove what they leave; returns the exit status of the first."""
        processes = [self.process_id, *self._watched]
        with contextlib.suppress(ProcessLookupError):  # nothing was left
            os.killpg(self.process_id, signal.SIGKILL)
        status = self._process.wait()
        for process in processes[1:]:
            with contextlib.suppress(ChildProcessError):  # init's, unless this process is the first of a container
                os.waitpid(process, 0)
        remove_regions(self._regions)
        return status

    def wait(self) -> int:
        """Block until it ends by itself; returns its exit status."""
        return self._process.wait()

    def _command_line(self, environment: ServerEnvironment, repository: Path, host: str) -> list[str]:
        return [
            str(environment.server),
            f"--model-repository={repository}",
            f"--backend-directory={environment.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._regions}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self._models),
            "--disable-auto-complete-config",
            "--strict-readiness=false",
            # Loading models is running code: only this launcher may.
            f"--http-restricted-api=model-repository,logging,trace:{ADMIN_HEADER}={self._admin_key}",
            f"--grpc-restricted-protocol=model-repository,logging,trace:{ADMIN_HEADER}={self._admin_key}",
            f"--http-address={host}",
            f"--http-port={self.ports.http}",
            f"--grpc-address={host}",
            f"--grpc-port={self.ports.grpc}",
            f"--metrics-address={host}",
            f"--metrics-port={self.ports.metrics}",
            f"--exit-timeout-secs={self._drain_seconds}",
            "--log-format=ISO8601",
        ]

    def _read(self, say: Callable[[str], object]) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._lines.append(text)
                say(text)

    def _model_processes(self) -> dict[int, str]:
        """Process -> the model whose code it runs; its command line names the version folder of the model."""
        return {
            process: Path(word).parents[1].name
            for process, words in children(self.process_id).items()
            for word in words
            if word.endswith("/model.py")
        }

    def _asked(self, path: str, *, load: bool = False, seconds: float = ANSWER_SECONDS) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=seconds)
        try:
            body = json.dumps({}) if load else None
            connection.request("POST" if load else "GET", path, body, {ADMIN_HEADER: self._admin_key})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _ending(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
