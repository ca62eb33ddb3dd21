"""CUDA devices that are pretended on a CPU: every tensor bears the name of the GPU that it would lie on.

Operands on two devices raise, as does `.numpy()` of a device's tensor; counted is how often the host would
wait, and what each GPU holds. As with real CUDA, the first use of a device settles which GPUs are visible,
and calls that want a device's number refuse "cuda" alone.
Speed, precision, kernels and the memory that an operation takes meanwhile are not simulated.
"""

from __future__ import annotations

import collections
import concurrent.futures
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from sonarseg.densecrf.engines.lattice_cache import KeptLattices
from sonarseg.training.data.tiles import _a_channel

GPU_BYTES = 80 * 2**30
_DEVICE, _IS_CUDA, _IS_CPU = (getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_cpu"))
_GRAD, _DATA = Tensor.grad.__get__, Tensor.data.__get__
_SET_GRAD, _SET_DATA = Tensor.grad.__set__, Tensor.data.__set__
# The host needs the values of these
_WAITING = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "masked_select"}
_WAITING |= {"unique", "unique_consecutive", "_unique2", "equal", "numpy"}
# Operands of these may lie on different devices
_ANYWHERE = {"copy_", "_foreach_copy_", "_has_compatible_shallow_copy_type", "to", "type_as", "backward"}
_ANYWHERE |= {"requires_grad_", "__reduce_ex__", "__deepcopy__", "result_type", "promote_types"}
_INDEXING = {"__getitem__", "__setitem__", "index_put_", "index_put"}
_HOST = "host"


def gpu_of(tensor: Tensor) -> str | None:
    """Name of the GPU that a tensor lies on; None is the host."""
    return getattr(tensor, "_gpu", None)


class Simulation:
    """What happens on the pretended GPUs.

    Attributes
    ----------
    waits : Counter
        How often the host waited for a device, by what it called.
    made : Counter
        Tensors made on each GPU.
    current : list of torch.device
        Devices that were made the current one.
    """

    def __init__(self, gpus: int) -> None:
        self._gpus = [str(index) for index in range(gpus)]
        self._settled: list[str] | None = None
        self._live: dict[int, weakref.ref[Tensor]] = {}
        self.waits: collections.Counter[str] = collections.Counter()
        self.made: collections.Counter[str] = collections.Counter()
        self.current: list[torch.device] = []
        self.fractions: dict[torch.device, float] = {}

    def seen(self) -> list[str]:
        """The GPUs that this process sees, in the order of its device numbers."""
        if self._settled is not None:
            return self._settled
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        return self._gpus if listed is None else [name for name in listed.split(",") if name]

    def gpu(self, device: torch.device) -> str:
        """The GPU behind a device; from then on, this process sees no others."""
        self._settled = self.seen()
        return self._settled[device.index or 0]

    def device(self, gpu: str) -> torch.device:
        """The device that a GPU is to this process."""
        return torch.device("cuda", self.seen().index(gpu))

    def put(self, tensor: Tensor, gpu: str | None) -> None:
        """Note where a tensor lies."""
        if gpu is not None and gpu_of(tensor) != gpu:
            self.made[gpu] += 1
            self._live[id(tensor)] = weakref.ref(tensor)
        tensor._gpu = gpu  # type: ignore[attr-defined]

    def held(self) -> dict[str, int]:
        """Bytes of the tensors that each GPU holds now."""
        gc.collect()
        storages: dict[tuple[str, int], int] = {}
        with torch._C.DisableTorchFunction():
            for reference in list(self._live.values()):
                tensor = reference()
                if tensor is not None and (gpu := gpu_of(tensor)) is not None:
                    storage = tensor.untyped_storage()
                    storages[gpu, storage.data_ptr()] = storage.nbytes()
        held: collections.Counter[str] = collections.Counter()
        for (gpu, _), size in storages.items():
            held[gpu] += size
        return dict(held)


class _Mode(TorchFunctionMode):
    """Gives the results of operations their place, and refuses operands of two places."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.simulation = simulation

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", str(func))
        if func is torch.device or name == "_parse_to":
            return func(*args, **kwargs)
        if func in _PROPERTIES:
            return _PROPERTIES[func](self.simulation, func, args)
        if func in (_SET_GRAD, _SET_DATA):
            func(*args)
            if func == _SET_DATA:
                self.simulation.put(args[0], gpu_of(args[1]))
            return None
        wanted: list[str] = []

        def on_host(value: Any) -> Any:
            named = isinstance(value, str) and value.startswith(("cuda", "cpu"))
            if named or isinstance(value, torch.device):
                device = torch.device(value)
                wanted.append(self.simulation.gpu(device) if device.type == "cuda" else _HOST)
                return torch.device("cpu")
            return value

        args, kwargs = tree_map(on_host, args), tree_map(on_host, kwargs)
        kwargs.pop("pin_memory", None)
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        gpus = {gpu for tensor in tensors if (gpu := gpu_of(tensor)) is not None}
        if name in ("cpu", "cuda", "to", "pin_memory"):
            return self._moved(name, func, args, kwargs, wanted)
        self._look(name, args, kwargs, tensors, gpus)
        place = gpu_of(args[0]) if name in ("copy_", "__deepcopy__") else next(iter(gpus), None)
        if wanted:
            place = None if wanted[0] == _HOST else wanted[0]
        return self._placed(func, args, kwargs, place)

    def _look(self, name: str, args: Any, kwargs: Any, tensors: list[Tensor], gpus: set[str]) -> None:
        """Count a wait of the host, and refuse operands that do not lie together."""
        if name == "copy_":
            waiting = len(args) < 3 and not kwargs.get("non_blocking")
            self.simulation.waits[name] += waiting and gpu_of(args[0]) != gpu_of(args[1])
            return
        if not gpus or name in _ANYWHERE:
            return
        if name in _WAITING:
            self.simulation.waits[name] += 1
        if name == "numpy":
            raise TypeError("can't convert cuda device type tensor to numpy")
        # A number of the host goes along with any device.
        strangers = [t for t in tensors if gpu_of(t) is None and (t.ndim > 0 or name in ("stack", "cat"))]
        if name in _INDEXING and strangers and gpu_of(args[0]) is not None:
            # An index may lie on the host, but then the host waits while it is copied.
            self.simulation.waits["index from the host"] += 1
            strangers = [value for value in args[2:3] if isinstance(value, Tensor) and value in strangers]
        if strangers or len(gpus) > 1:
            places = [(tuple(tensor.shape), gpu_of(tensor) or _HOST) for tensor in tensors]
            raise RuntimeError(f"{name}: expected all tensors to be on the same device: {places}")

    def _moved(self, name: str, func: Any, args: Any, kwargs: Any, wanted: list[str]) -> Any:
        """A tensor that is brought somewhere."""
        tensor, before = args[0], gpu_of(args[0])
        if name == "pin_memory":
            if before is not None:
                raise RuntimeError("only dense CPU tensors can be pinned")
            return self._placed(Tensor.clone, (tensor,), {}, None)
        other = next((value for value in args[1:] if isinstance(value, Tensor)), None)
        after = before if other is None else gpu_of(other)
        if name == "cpu" or wanted:
            after = None if name == "cpu" or wanted[0] == _HOST else wanted[0]
        if after != before and not kwargs.get("non_blocking"):
            self.simulation.waits["to the host" if after is None else "to a device"] += 1
        moved = func(*args, **kwargs)
        if moved is tensor and after != before:
            moved = moved.clone()
        self.simulation.put(moved, after)
        return moved

    def _placed(self, func: Any, args: Any, kwargs: Any, place: str | None) -> Any:
        given = {id(value) for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)}
        result = func(*args, **kwargs)
        for value in tree_flatten(result)[0]:
            if isinstance(value, Tensor) and id(value) not in given:
                self.simulation.put(value, place)
        return result


def _device(simulation: Simulation, func: Any, args: Any) -> torch.device:
    gpu = gpu_of(args[0])
    return torch.device("cpu") if gpu is None else simulation.device(gpu)


def _along(simulation: Simulation, func: Any, args: Any) -> Any:
    """Gradient or data of a tensor, which lie where it does."""
    value = func(*args)
    if isinstance(value, Tensor):
        simulation.put(value, gpu_of(args[0]))
    return value


_PROPERTIES: dict[Any, Callable[[Simulation, Any, Any], Any]] = {
    _DEVICE: _device,
    _IS_CUDA: lambda simulation, func, args: gpu_of(args[0]) is not None,
    _IS_CPU: lambda simulation, func, args: gpu_of(args[0]) is None,
    _GRAD: _along,
    _DATA: _along,
}


class _Event:
    """A mark in a device's stream."""

    waits: collections.Counter[str]

    def record(self, stream: object = None) -> None:
        pass

    def synchronize(self) -> None:
        self.waits["event"] += 1


def _generator(simulation: Simulation) -> type[torch.Generator]:
    real = torch.Generator

    class Generator(real):  # type: ignore[misc,valid-type]
        def __new__(cls, device: torch.device | str = "cpu") -> Any:
            made = real.__new__(cls)
            made._where = torch.device(device)
            return made

        def __init__(self, device: torch.device | str = "cpu") -> None:
            pass

        @property
        def device(self) -> torch.device:
            return self._where

    return Generator


def _forget() -> None:
    """Drop what is kept per device for later: the devices of another simulation bear the same names."""
    for kept in gc.get_objects():
        if type(kept) is KeptLattices:
            kept.clear()
    _a_channel.cache_clear()


@contextmanager
def simulated_cuda(gpus: int = 1) -> Iterator[Simulation]:
    """Pretend so many GPUs, in this thread and in those of thread pools."""
    simulation = Simulation(gpus)
    real_autocast, real_submit = torch.autocast, concurrent.futures.ThreadPoolExecutor.submit
    real_grouped = clip_grad._group_tensors_by_device_and_dtype

    def grouped(tensors: list[list[Tensor]]) -> dict[Any, Any]:
        """Groups by device, of which compiled code knows only where the tensors really lie."""
        found = real_grouped(tensors)
        return {(lists[0][0].device, dtype): (lists, places) for (_, dtype), (lists, places) in found.items()}

    real_copied = torch.nn.Parameter.__deepcopy__
    gpu = SimpleNamespace(uuid="0", total_memory=GPU_BYTES, name="simulated", major=9, minor=0)

    def submit(pool: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def within(*given: Any, **named: Any) -> Any:
            with _Mode(simulation):
                return call(*given, **named)

        return real_submit(pool, within, *args, **kwargs)

    def autocast(kind: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Any:
        return real_autocast("cpu", enabled=False)

    def copied(parameter: torch.nn.Parameter, memo: dict[int, Any]) -> torch.nn.Parameter:
        copy: torch.nn.Parameter = real_copied(parameter, memo)
        simulation.put(copy, gpu_of(parameter))
        return copy

    def with_number(device: torch.device | str | int) -> torch.device:
        """A device that torch takes in the calls that want its number."""
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if found.index is None:
            raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{found}")
        return found

    def make_current(device: torch.device | str | int) -> None:
        simulation.current.append(with_number(device))

    def current_device() -> int:
        return simulation.current[-1].index if simulation.current else 0

    def limit(part: float, device: torch.device | str | int) -> None:
        simulation.fractions[with_number(device)] = part

    def limit_of(device: torch.device | str | int) -> float:
        return simulation.fractions.get(with_number(device), 1.0)

    def synchronize(device: object = None) -> None:
        simulation.waits["synchronize"] += 1

    def nothing(*arguments: object) -> None:
        pass

    cuda, optimizer = torch.cuda, torch.optim.Optimizer
    replaced: list[tuple[Any, str, Any]] = [
        (cuda, "is_available", lambda: bool(simulation.seen())),
        (cuda, "device_count", lambda: len(simulation.seen())),
        (cuda, "mem_get_info", lambda device=None: (GPU_BYTES - 2**30, GPU_BYTES)),
        (cuda, "get_device_properties", lambda device=None: gpu),
        (cuda, "get_device_name", lambda device=None: gpu.name),
        (cuda, "get_device_capability", lambda device=None: (gpu.major, gpu.minor)),
        (cuda, "set_per_process_memory_fraction", limit),
        (cuda, "get_per_process_memory_fraction", limit_of),
        (cuda, "set_device", make_current),
        (cuda, "current_device", current_device),
        (cuda, "current_stream", nothing),
        (cuda, "synchronize", synchronize),
        (cuda, "Event", type("Event", (_Event,), {"waits": simulation.waits})),
        (torch, "Generator", _generator(simulation)),
        (torch, "autocast", autocast),
        (torch.nn.Parameter, "__deepcopy__", copied),
        (clip_grad, "_group_tensors_by_device_and_dtype", grouped),
        (concurrent.futures.ThreadPoolExecutor, "submit", submit),
    ]
    replaced += [(cuda, name, nothing) for name in ("reset_peak_memory_stats", "empty_cache")]
    for name in ("memory_reserved", "memory_allocated", "max_memory_reserved", "max_memory_allocated"):
        replaced.append((cuda, name, lambda device=None: 2**30))
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        if hasattr(optimizer, name):
            replaced.append((optimizer, name, nothing))
    before = [(place, name, getattr(place, name)) for place, name, _ in replaced]
    for place, name, value in replaced:
        setattr(place, name, value)
    _forget()
    try:
        with _Mode(simulation):
            yield simulation
    finally:
        _forget()
        for place, name, value in before:
            setattr(place, name, value)
