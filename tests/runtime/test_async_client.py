"""AsyncClient: against the real server the bundle's numbers, against one that fails what it does about it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import numpy as np
import pytest
from cgan_runtime import Answer, AsyncClient
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError, ServerError, UsageError
from cgan_runtime.images import png_text
from cgan_runtime.serving.server import TritonServer
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.certificates import certificate

T = TypeVar("T")
SEEDS = [7, 2**53 + 1, 2**64 - 1]


def asked(url: str, what: Callable[[AsyncClient], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        async with AsyncClient(url, **options) as client:
            return await what(client)

    return asyncio.run(run())


async def collected(answers: AsyncIterator[Answer]) -> list[Answer]:
    return [answer async for answer in answers]


def test_the_numbers_are_the_bundles(tiny_server: TritonServer, clouds: Bundle) -> None:
    ours = clouds.generator().generate({}, SEEDS, [0, 1, 2])
    made = asked(f"grpc://{tiny_server.grpc_url}", lambda c: c.generate("clouds", {}, SEEDS, [0, 1, 2]))
    assert made.seeds == tuple(SEEDS)
    np.testing.assert_array_equal(made.outputs["picture"], ours["picture"])
    np.testing.assert_array_equal(made.outputs["score"][:, 0], ours["score"])


def test_files_and_class_names_go_to_the_image_model(tiny_server: TritonServer) -> None:
    made = asked(f"grpc://{tiny_server.grpc_url}", lambda c: c.generate("shoes_png", {"label": ["bag", b"1", "2"]}))
    files = made.outputs["picture"][:, 0]
    assert [png_text(file)["cgan-seed"] for file in files] == [str(seed) for seed in made.seeds]
    assert len(set(made.seeds)) == 3
    assert Image.open(io.BytesIO(files[0])).size == (16, 16)


def test_a_stream_gives_the_samples_in_their_order(tiny_server: TritonServer, shoes: Bundle) -> None:
    samples = [({"label": np.array([seed % 3, 1])}, seed) for seed in range(20)]
    made = asked(f"grpc://{tiny_server.grpc_url}", lambda c: collected(c.stream("shoes", samples, in_flight=4)))
    assert [answer.seeds for answer in made] == [(seed, seed) for _, seed in samples]
    for answer, (inputs, seed) in zip(made, samples, strict=True):
        ours = shoes.generator().generate({"label": inputs["label"]}, [seed, seed], [0, 0])["picture"]
        np.testing.assert_array_equal(answer.outputs["picture"], ours)


def test_a_bad_sample_of_a_stream_is_the_servers_sentence(tiny_server: TritonServer) -> None:
    samples = [({"label": [1]}, 1), ({"label": [99]}, 2), ({"label": [1]}, 3)]
    handed: list[int] = []

    async def run(client: AsyncClient) -> None:
        async for answer in client.stream("shoes", samples):
            handed.extend(answer.seeds)

    with pytest.raises(ServerError, match="refused: label 99 is out of range; give 0 to 2"):
        asked(f"grpc://{tiny_server.grpc_url}", run)
    assert handed == [1]


@pytest.mark.parametrize(
    ("model", "inputs", "seeds", "words"),
    [
        ("shoes", {"lable": [1]}, [7], "has no input lable; it has label, seed, draw"),
        ("shoes", {"label": [0.5]}, [7], "label is float64; INT64 is needed"),
        ("shoes", {"label": [1, 2]}, [7], "2 rows need 2 seeds"),
        ("shoes", {"label": [1]}, [2**64], "a seed is a whole number from 0 to 18446744073709551615"),
        ("shoes", {"label": [1]}, [-1], "a seed is a whole number"),
        ("shoes_core", {"label": [1]}, [7], "takes no seed; NAME or NAME_png is needed"),
        ("shoos", {"label": [1]}, [7], "refused: Request for unknown model"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    tiny_server: TritonServer, model: str, inputs: dict[str, Any], seeds: list[int], words: str
) -> None:
    with pytest.raises(CganError, match=words):
        asked(f"grpc://{tiny_server.grpc_url}", lambda c: c.generate(model, inputs, seeds))


@pytest.mark.parametrize("url", ["http://a:1", "grpc://a", "grpc://a:1/v2", "a:1"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(
        UsageError, match="is not a server address here; give grpc://HOST:PORT or grpcs://HOST:PORT"
    ):
        AsyncClient(url)


class Failing(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # the package ships no types
    """A server that answers with the seeds only, and fails as a test says."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, str | None]] = []  # code, retry-after: of the next calls
        self.asked: list[bytes] = []  # the seeds of each call
        self.headers: dict[str, str] = {}
        self.hang, self.cancelled = False, asyncio.Event()
        self.echo: bytes | None = None
        self.stream_fails = ""

    async def ModelMetadata(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
        described = service_pb2.ModelMetadataResponse(name=request.name)
        described.inputs.add(name="seed", datatype="UINT64", shape=[-1, 1])
        return described

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.headers = dict(context.invocation_metadata())
        self.asked.append(request.raw_input_contents[0])
        if self.refusals:
            code, after = self.refusals.pop(0)
            trailing = () if after is None else (("retry-after", after),)
            await context.abort(grpc.StatusCode[code], "no room.", trailing)
        if self.hang:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return self._answer(request)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        number = 0
        async for request in requests:
            number += 1
            if number == 2 and self.stream_fails == "breaks":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going away.")
            if number == 2 and self.stream_fails == "ends":
                return
            if number == 2 and self.stream_fails == "says no id":
                yield service_pb2.ModelStreamInferResponse(error_message="no room.")
                continue
            if number == 2 and self.stream_fails == "says its id":
                named = service_pb2.ModelInferResponse(id=request.id)
                yield service_pb2.ModelStreamInferResponse(error_message="no room.", infer_response=named)
                continue
            yield service_pb2.ModelStreamInferResponse(infer_response=self._answer(request))

    def _answer(self, request: Any) -> Any:
        answer = service_pb2.ModelInferResponse(id=request.id, model_name=request.model_name)
        answer.outputs.add(name="seed", datatype="UINT64", shape=request.inputs[0].shape)
        answer.raw_output_contents.append(self.echo or request.raw_input_contents[0])
        return answer


@asynccontextmanager
async def serving(servicer: Failing, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[str]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"{'grpcs' if credentials else 'grpc'}://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def failing(what: Callable[[AsyncClient, Failing], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        servicer = Failing()
        async with serving(servicer) as url, AsyncClient(url, **options) as client:
            return await what(client, servicer)

    return asyncio.run(run())


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, in seconds; nobody really waits."""
    noted: list[float] = []
    sleep = asyncio.sleep

    async def soon(seconds: float) -> None:
        if 0 < seconds < 60:
            noted.append(seconds)
        await sleep(0 if seconds < 60 else seconds)

    monkeypatch.setattr(asyncio, "sleep", soon)
    return noted


def test_a_full_server_is_asked_again_with_the_same_drawn_seeds(waits: list[float]) -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.refusals = [("UNAVAILABLE", "3"), ("UNAVAILABLE", "0.5"), ("UNAVAILABLE", None)]
        answer = await client.generate("m", {})
        assert len(servicer.asked) == 4
        assert set(servicer.asked) == {np.uint64(answer.seeds[0]).tobytes()}

    failing(run)
    first, second, third = waits
    assert 3 <= first <= 3.75
    assert 0.5 <= second <= 0.625
    assert 0.5 <= third <= 1  # no word of the server: 0.25 s, doubled twice, at least half of it


def test_no_wait_goes_beyond_the_deadline(waits: list[float]) -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.refusals = [("UNAVAILABLE", "30")]
        with pytest.raises(ServerError, match="is full or cannot be reached after 1 attempt: no room"):
            await client.generate("m", {}, [7], deadline_s=10)

    failing(run)
    assert waits == []


def test_the_attempts_are_counted(waits: list[float]) -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.refusals = [("UNAVAILABLE", None)] * 9
        with pytest.raises(ServerError, match="after 3 attempts: no room"):
            await client.generate("m", {}, [7])
        assert len(servicer.asked) == 3

    failing(run, attempts=3)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [
        *((code, "refused: no room") for code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL")),
        ("UNAUTHENTICATED", "wants an API key"),
    ],
)
def test_other_errors_are_not_repeated(code: str, says: str) -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.refusals = [(code, "1")]
        with pytest.raises(ServerError, match=says):
            await client.generate("m", {}, [7])
        assert len(servicer.asked) == 1

    failing(run)


def test_a_deadline_ends_a_call_and_the_work_on_the_server() -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.hang = True
        with pytest.raises(ServerError, match="gave no answer before the deadline"):
            await client.generate("m", {}, [7], deadline_s=0.3)
        async with asyncio.timeout(20):
            await servicer.cancelled.wait()

    failing(run)


def test_a_cancelled_task_ends_the_work_on_the_server() -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.hang = True
        task = asyncio.create_task(client.generate("m", {}, [7]))
        async with asyncio.timeout(20):
            while not servicer.asked:
                await asyncio.sleep(0.01)
            task.cancel()
            await servicer.cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await task

    failing(run)


def test_an_answer_of_another_seed_is_an_error() -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.echo = np.uint64(2**53).tobytes()
        with pytest.raises(ServerError, match=r"asked for seeds \[9007199254740993\] and answered"):
            await client.generate("m", {}, [2**53 + 1])

    failing(run)


def test_the_key_travels_as_authorization() -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        await client.generate("m", {}, [7])
        assert servicer.headers["authorization"] == "Bearer abc"

    failing(run, key="abc")


def test_tls_trusts_the_certificates_it_is_given_and_no_others(tmp_path: Path) -> None:
    trusted, key = (path.read_bytes() for path in certificate(tmp_path))

    async def run() -> None:
        async with serving(Failing(), grpc.ssl_server_credentials([(key, trusted)])) as url:
            async with AsyncClient(url, root_certificates=trusted, key="abc") as client:
                assert (await client.generate("m", {}, [7])).seeds == (7,)
            async with AsyncClient(url) as client:  # it would be so again: no second attempt
                with pytest.raises(ServerError, match="signed by no authority that is trusted here"):
                    await client.generate("m", {}, [7], deadline_s=0.2)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["breaks", "ends", "says no id", "says its id"])
def test_a_stream_that_fails_loses_and_repeats_no_sample(how: str) -> None:
    async def run(client: AsyncClient, servicer: Failing) -> None:
        servicer.stream_fails = how
        answers = await collected(client.stream("m", (({}, seed) for seed in range(9)), in_flight=3))
        assert [answer.seeds for answer in answers] == [(seed,) for seed in range(9)]
        assert servicer.asked, "nothing was asked for again"

    failing(run)


def test_a_stream_reads_its_samples_as_it_goes() -> None:
    async def run(client: AsyncClient, _: Failing) -> None:
        taken: list[int] = []

        def samples() -> Any:
            for seed in range(1000):
                taken.append(seed)
                yield {}, seed

        async with aclosing(client.stream("m", samples(), in_flight=3)) as answers:
            async for answer in answers:
                assert len(taken) <= answer.seeds[0] + 3
                if answer.seeds[0] == 5:
                    break

    failing(run)
