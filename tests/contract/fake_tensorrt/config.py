"""``IBuilderConfig``, ``IOptimizationProfile``, ``ITimingCache``.

Sources: ``pyCore.cpp``; ``NvInfer.h``: TF32 is on from the start; ``setBuilderOptimizationLevel``
takes 0 to 5; ``addOptimizationProfile`` returns -1 for an invalid profile; ``setTimingCache``
returns false for a cache of another device or release unless mismatches are ignored;
``setDimensions`` returns false for shapes that contradict each other, which the bindings turn
into a RuntimeError.
"""

from __future__ import annotations

import json
from typing import Any

from contract.pybind import made, takes

_CACHE_MAGIC = b"FTRTCACHE"


class IOptimizationProfile:
    """State: ``_shapes``: input -> ``{"min": [...], "opt": [...], "max": [...]}``."""

    @takes("str", "dims", "dims", "dims")
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        low, best, high = list(min), list(opt), list(max)
        if any(number < 0 for number in low):
            raise RuntimeError("Shape provided for min is inconsistent with other shapes.")
        if len(best) != len(low) or any(b < n for b, n in zip(best, low, strict=True)):
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        if len(high) != len(low) or any(h < b for h, b in zip(high, best, strict=True)):
            raise RuntimeError("Shape provided for max is inconsistent with other shapes.")
        self._shapes[input] = {"min": low, "opt": best, "max": high}

    @takes("str")
    def get_shape(self, input: str) -> list[Any]:
        dims = self._world.classes["Dims"]
        found = self._shapes.get(input)
        return [dims(found[key]) for key in ("min", "opt", "max")] if found else []

    @property
    def extra_memory_target(self) -> float:
        return self._extra

    @extra_memory_target.setter
    @takes("float")
    def extra_memory_target(self, value: float) -> None:
        self._extra = value

    def __bool__(self) -> bool:
        return True


class ITimingCache:
    """State: ``_header`` (release and device), ``_entries``: layer -> milliseconds."""

    def serialize(self) -> Any:
        text = json.dumps({"header": self._header, "entries": self._entries}, sort_keys=True)
        return self._world.classes["IHostMemory"](_CACHE_MAGIC + text.encode())

    @takes("ITimingCache", "bool")
    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        for name, time in input_cache._entries.items():
            self._entries.setdefault(name, time)
        return True

    def reset(self) -> bool:
        self._entries.clear()
        return True


class IBuilderConfig:
    """State: ``_flags`` as bits, and one private attribute for each property."""

    def _begin(self) -> None:
        classes = self._world.classes
        self._flags = 1 << int(classes["BuilderFlag"].TF32)
        self._pools: dict[str, int] = {}
        self._profiles: list[Any] = []
        self._previews: set[int] = set()
        self._level, self._verbosity = 3, classes["ProfilingVerbosity"].LAYER_NAMES_ONLY
        levels = classes.get("HardwareCompatibilityLevel")  # since 8.6
        self._hardware = levels.NONE if levels else None
        self._plugins: list[str] = []
        self._monitor = self._cache = self._calibrator = None
        self._aux_streams, self._timing_iterations, self._tactics = -1, 1, -1
        self._capability = classes["EngineCapability"].STANDARD
        self._device_type, self._dla_core = classes["DeviceType"].GPU, -1
        self._tactic_sources = sum(
            1 << int(m) for m in classes["TacticSource"].__members__.values()
        )
        self._profile_stream = 0
        if "RuntimePlatform" in classes:
            self._platform = classes["RuntimePlatform"].SAME_AS_BUILD

    @property
    def flags(self) -> int:
        return self._flags

    @flags.setter
    @takes("size")
    def flags(self, value: int) -> None:
        self._flags = value

    @takes("BuilderFlag")
    def set_flag(self, flag: Any) -> None:
        self._flags |= 1 << int(flag)

    @takes("BuilderFlag")
    def clear_flag(self, flag: Any) -> None:
        self._flags &= ~(1 << int(flag))

    @takes("BuilderFlag")
    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def _has(self, name: str) -> bool:
        """Whether a flag exists in this release and is set."""
        flag = self._world.classes["BuilderFlag"].__members__.get(name)
        return flag is not None and bool(self._flags >> int(flag) & 1)

    @takes("MemoryPoolType", "size")
    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    @takes("MemoryPoolType")
    def get_memory_pool_limit(self, pool: Any) -> int:
        whole = self._world.machine.memory.total if pool.name == "WORKSPACE" else 0
        return self._pools.get(pool.name, whole)

    @takes("IOptimizationProfile")
    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    @takes("buffer")
    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        device = self._world.machine.device
        header = {"tensorrt": self._world.generation.version, "device": device.name}
        entries: dict[str, float] = {}
        if serialized_timing_cache:
            try:
                if not serialized_timing_cache.startswith(_CACHE_MAGIC):
                    raise ValueError("magic")
                stored = json.loads(serialized_timing_cache[len(_CACHE_MAGIC) :])
                header, entries = stored["header"], stored["entries"]
            except (ValueError, KeyError, TypeError):
                self._world.error(self._logger, 3, "the serialized timing cache is corrupt")
                return None
        return made(self._world.classes["ITimingCache"], header=header, entries=entries)

    @takes("ITimingCache?", "bool")
    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache is not None and not ignore_mismatch:
            device = self._world.machine.device
            mine = {"tensorrt": self._world.generation.version, "device": device.name}
            if cache._header != mine:
                self._world.log(
                    self._logger,
                    "WARNING",
                    f"The timing cache is of {cache._header}, this is {mine}: not used",
                )
                return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    @takes("PreviewFeature", "bool")
    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        (self._previews.add if enable else self._previews.discard)(int(feature))

    @takes("PreviewFeature")
    def get_preview_feature(self, feature: Any) -> bool:
        return int(feature) in self._previews

    @takes("size")
    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._tactic_sources = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        return self._tactic_sources

    def reset(self) -> None:
        self._begin()

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    @takes("int")
    def builder_optimization_level(self, value: int) -> None:
        if not 0 <= value <= 5:
            self._world.error(
                self._logger, 3, f"setBuilderOptimizationLevel: {value} is not within [0, 5]"
            )
            return
        self._level = value


def _plain(attribute: str, kind: str) -> property:
    """A property that only keeps its value."""

    def setter(self: Any, value: Any) -> None:
        object.__setattr__(self, attribute, value)

    return property(lambda self: getattr(self, attribute), takes(kind)(setter))


for _name, _attribute, _kind in (
    ("profiling_verbosity", "_verbosity", "ProfilingVerbosity"),
    ("hardware_compatibility_level", "_hardware", "HardwareCompatibilityLevel"),
    ("plugins_to_serialize", "_plugins", "texts"),
    ("progress_monitor", "_monitor", "IProgressMonitor?"),
    ("max_aux_streams", "_aux_streams", "int"),
    ("avg_timing_iterations", "_timing_iterations", "int"),
    ("max_num_tactics", "_tactics", "int"),
    ("engine_capability", "_capability", "EngineCapability"),
    ("default_device_type", "_device_type", "DeviceType"),
    ("DLA_core", "_dla_core", "int"),
    ("profile_stream", "_profile_stream", "size"),
    ("runtime_platform", "_platform", "RuntimePlatform"),
    ("int8_calibrator", "_calibrator", "any"),
):
    setattr(IBuilderConfig, _name, _plain(_attribute, _kind))
