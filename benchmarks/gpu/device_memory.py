"""What a program and the processes that it starts hold of the device's memory, watched from outside."""

from __future__ import annotations

import threading

import psutil


class DeviceMemoryWatch(threading.Thread):
    """Looks twice a second, from `start` to `end`.

    Attributes
    ----------
    most : dict of (int, int)
        Most bytes that each process of the program was seen to hold, by process id.
    names : dict of (int, str)
        Their command lines.
    """

    def __init__(self, program: int) -> None:
        super().__init__(daemon=True)
        self.program = program
        self.most: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until the end."""
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        while not self._ended.wait(0.5):
            held = {
                each.pid: each.usedGpuMemory or 0
                for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            }
            self.note(held)

    def note(self, held: dict[int, int]) -> None:
        """Keep what the program's processes hold; others may use the device at the same time."""
        try:
            program = psutil.Process(self.program)
            for process in (program, *program.children(recursive=True)):
                if process.pid in held:
                    self.most[process.pid] = max(self.most.get(process.pid, 0), held[process.pid])
                    self.names.setdefault(process.pid, " ".join(process.cmdline())[-80:])
        except psutil.NoSuchProcess:
            return

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()
