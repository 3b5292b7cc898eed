"""Error codes of CUDA as sentences that say what to do; the same for every library that reports them."""

from __future__ import annotations

from typing import Final

from cgan_runtime.cuda.driver import DriverError
from cgan_runtime.limits import printable

__all__ = ["NO_MEMORY", "SAID", "driver_error", "no_host_memory", "no_memory", "no_such_device", "size_words"]

NO_MEMORY: Final = 2
LOST: Final = "the CUDA context is unusable, start the process again."
OLD: Final = "install a newer NVIDIA driver (nvidia-smi shows the installed one)."

# By CUresult (cuda.h): what happened and what to do. Other codes are reported in CUDA's own words.
SAID: Final[dict[int, str]] = {
    NO_MEMORY: "the GPU has no memory left; use a smaller batch or fewer contexts, or end other programs on it.",
    3: "CUDA is not initialised, or the process is ending.",
    34: "libcuda.so.1 is a stub of the CUDA toolkit, not the driver; take its folder out of LD_LIBRARY_PATH.",
    46: "the GPU is used by another process, or its compute mode forbids a second one (see nvidia-smi).",
    100: "no NVIDIA GPU is visible here; look at nvidia-smi and CUDA_VISIBLE_DEVICES.",
    101: "there is no GPU of this number here; look at nvidia-smi and CUDA_VISIBLE_DEVICES.",
    209: "the kernels were not built for this GPU; install a cgan-deploy that knows it.",
    214: f"the GPU found a memory error that it cannot correct; {LOST}",
    222: f"the NVIDIA driver does not know this version of PTX; {OLD}",
    700: f"the GPU used an illegal address; {LOST}",
    702: f"a kernel ran longer than the GPU allows; {LOST}",
    710: f"a kernel stopped at an assertion; {LOST}",
    714: f"the GPU reported a hardware error; {LOST}",
    715: f"the GPU met an illegal instruction; {LOST}",
    716: f"the GPU used a misaligned address; {LOST}",
    717: f"the GPU used an address outside its memory; {LOST}",
    718: f"the GPU met an invalid program counter; {LOST}",
    719: f"a kernel failed on the GPU; {LOST}",
    802: "the GPU is not ready yet (the fabric manager is starting); try again later.",
    803: f"the NVIDIA driver and its libcuda.so.1 have different versions; restart the machine, or {OLD}",
    804: f"the NVIDIA driver is too old for the CUDA that is installed; {OLD}",
}


def driver_error(call: str, code: int, text: str) -> DriverError:
    """The error of a call that returned a code.

    Args:
        call: the function of the driver API: "cuMemAlloc".
        code: CUresult; -1 where the library does not tell.
        text: what cuGetErrorString says about it.
    """
    number = f" (CUDA error {code})" if code >= 0 else ""
    return DriverError(SAID.get(code, f"{call} failed: {printable(text.rstrip(' .-'), 300)}{number}."))


def no_memory(asked: int, free: int | None) -> DriverError:
    """`asked` bytes of device memory could not be had; `free` bytes are there, None where that cannot be told."""
    left = "" if free is None else f", {size_words(free)} are free"
    return DriverError(
        f"the GPU has no memory left: {size_words(asked)} were asked for{left}; use a smaller batch or fewer "
        "contexts, or end other programs on it."
    )


def no_host_memory(asked: int) -> DriverError:
    """`asked` bytes of page-locked memory could not be had."""
    return DriverError(
        f"no page-locked memory is left: {size_words(asked)} of the host's were asked for; use a smaller batch or "
        "fewer contexts, or raise the limit of locked memory (ulimit -l, or that of the container)."
    )


def no_such_device(number: int, count: int) -> DriverError:
    """GPU `number` was asked for and `count` are visible."""
    if not count:
        return DriverError(SAID[100])
    numbers = "only number 0 is" if count == 1 else f"only 0 to {count - 1} are"
    return DriverError(f"GPU {number} was asked for, {numbers} here; look at nvidia-smi and CUDA_VISIBLE_DEVICES.")


def size_words(size: int) -> str:
    """A number of bytes: "512 bytes", "3.5 MiB", "1.2 GiB"."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
