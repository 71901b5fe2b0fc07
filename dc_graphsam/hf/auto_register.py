"""Make ``transformers``' own auto classes and pipelines know the models of this package, as soon as both are loaded.

``import dc_graphsam`` must stay light, so it cannot import ``transformers`` to register there. It watches instead: when one of
the few modules below has been imported, by whomever, what belongs into it is registered; nothing is imported that is not
being imported anyway.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

__all__ = ["register_when_loaded"]

_CONFIGS = "transformers.models.auto.configuration_auto"
_MODELS = "transformers.models.auto.modeling_auto"
_PROCESSORS = "transformers.models.auto.processing_auto"
_PIPELINES = "transformers.pipelines"
_BASE = "transformers.modeling_utils"
_WATCHED = (_CONFIGS, _MODELS, _PROCESSORS, _PIPELINES, _BASE)


class _Watcher(MetaPathFinder):
    """Finds nothing itself; tells when a watched module has been executed."""

    def __init__(self) -> None:
        self.looking: set[str] = set()
        self.executed: set[str] = set()
        self.registered: set[str] = set()

    def find_spec(self, name, path=None, target=None):
        if name not in _WATCHED or name in self.looking:
            return None
        self.looking.add(name)
        try:
            spec = find_spec(name)
        finally:
            self.looking.discard(name)
        execute = getattr(getattr(spec, "loader", None), "exec_module", None)
        if execute is None:
            return None

        def execute_and_tell(module) -> None:
            execute(module)
            self.executed.add(name)
            self.register()

        spec.loader.exec_module = execute_and_tell
        return spec

    def is_ready(self, name: str) -> bool:
        """Whether the module is there, and its top level has run to the end."""
        module = sys.modules.get(name)
        if module is None:
            return False
        return name in self.executed or not getattr(module.__spec__, "_initializing", False)

    def register(self) -> None:
        """Whatever can be registered now and has not been."""
        if self.is_ready(_CONFIGS):
            self._once("configs", _register_configs)
        # In the middle of the import of the base class, models cannot be defined: its end is watched, too.
        if _BASE in sys.modules and not self.is_ready(_BASE):
            return
        if self.is_ready(_MODELS):
            self._once("models", _register_models)
        if self.is_ready(_PROCESSORS):
            self._once("processors", _register_processors)
        if self.is_ready(_PIPELINES):
            self._once("pipelines", _register_pipelines)

    def _once(self, what: str, action) -> None:
        if what not in self.registered:
            self.registered.add(what)
            action()


def register_when_loaded() -> None:
    """Begin to watch; what is loaded already is registered at once. A second call does nothing."""
    if any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        return
    watcher = _Watcher()
    sys.meta_path.insert(0, watcher)
    watcher.register()


def _classes(place: int):
    import dc_graphsam.models
    from dc_graphsam.models.auto import MODELS

    for names in MODELS.values():
        yield getattr(dc_graphsam.models, names[0]), getattr(dc_graphsam.models, names[place])


def _register_configs() -> None:
    from transformers.models.auto.configuration_auto import AutoConfig

    for config_class, _ in _classes(0):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)


def _register_models() -> None:
    from transformers.models.auto.modeling_auto import AutoModel

    for config_class, encoder in _classes(1):
        AutoModel.register(config_class, encoder, exist_ok=True)


def _register_processors() -> None:
    from transformers.models.auto.processing_auto import AutoProcessor

    from dc_graphsam.processing.molecule_processor import MoleculeProcessor

    for config_class, _ in _classes(0):
        AutoProcessor.register(config_class, MoleculeProcessor, exist_ok=True)


def _register_pipelines() -> None:
    import_module("dc_graphsam.hf.auto_pipeline")  # registers itself: it may be what imports the pipelines just now
