"""Clocks, power, temperature and memory of the GPU, from the driver (NVML). Makes no CUDA context."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import asdict, dataclass
from typing import Any

from cgan_runtime.errors import CganError

__all__ = ["GpuState", "gpu_state"]


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """What the driver told at one moment; None where this card does not tell.

    Attributes:
        name: of the GPU.
        driver: version of NVIDIA's driver.
        sm_mhz: clock of the processors.
        sm_max_mhz: the highest one.
        memory_mhz: clock of the memory.
        power_w: drawn now.
        power_limit_w: at most.
        temperature_c: of the processor.
        used_mb: memory in use, by all programs, in 10^6 bytes.
    """

    name: str
    driver: str
    sm_mhz: int | None
    sm_max_mhz: int | None
    memory_mhz: int | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: int | None
    used_mb: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)

    @property
    def words(self) -> str:
        """``1980 of 1980 MHz, memory 2619 MHz, 341 of 700 W, 52 °C, 1210 MB used``."""
        told = [
            _of(self.sm_mhz, self.sm_max_mhz, "MHz"),
            f"memory {self.memory_mhz} MHz" if self.memory_mhz is not None else "",
            _of(self.power_w, self.power_limit_w, "W"),
            f"{self.temperature_c} °C" if self.temperature_c is not None else "",
            f"{self.used_mb:.0f} MB used" if self.used_mb is not None else "",
        ]
        return ", ".join(part for part in told if part)


def gpu_state() -> GpuState:
    """Of the first GPU that CUDA_VISIBLE_DEVICES names, else of number 0.

    Raises:
        CganError: nvidia-ml-py is not installed, or there is no driver.
    """
    if importlib.util.find_spec("pynvml") is None:
        raise CganError('nvidia-ml-py is not installed; run: pip install "cgan-deploy[gpu]"')
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return _state(pynvml)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise CganError(f"the driver does not tell ({error})") from error


def _state(nvml: Any) -> GpuState:
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    find = nvml.nvmlDeviceGetHandleByIndex if wanted.isdigit() else nvml.nvmlDeviceGetHandleByUUID
    handle = find(int(wanted) if wanted.isdigit() else wanted)

    def told(function: str, *arguments: int) -> Any:
        try:
            return getattr(nvml, function)(handle, *arguments)
        except nvml.NVMLError:  # cards differ in what they tell
            return None

    power, limit = told("nvmlDeviceGetPowerUsage"), told("nvmlDeviceGetEnforcedPowerLimit")
    memory = told("nvmlDeviceGetMemoryInfo")
    return GpuState(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        driver=_text(nvml.nvmlSystemGetDriverVersion()),
        sm_mhz=told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        sm_max_mhz=told("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_mhz=told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        power_w=None if power is None else power / 1e3,
        power_limit_w=None if limit is None else limit / 1e3,
        temperature_c=told("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        used_mb=None if memory is None else memory.used / 1e6,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _of(value: float | None, most: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.0f} {unit}" if most is None else f"{value:.0f} of {most:.0f} {unit}"
