"""The values themselves, by the code that will read them: Serve, the application, the frontend; and their sizes."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from frontend.settings import Settings, unknown_names
from manifest_checks.objects import Field, Object, Pod, Problem, at, environment, identity, pods, quantity, ray_service
from manifest_checks.render import Rendering
from manifest_checks.serve_config import PatchError, compose
from manifest_checks.serve_schema import SERVE_FIELD, application, application_field, deployment, serve_config
from serve_app.chat_config import load
from serve_app.errors import ConfigError, reason
from serve_app.settings import AppArgs

MAX_CONFIG_MAP = 1024**2  # the API server's limit on all values of a ConfigMap
INGRESS, MODEL = "Ingress", "GodelModel"
_DEFAULTS: dict[str, Any] = {name: field.default for name, field in AppArgs.model_fields.items()}
_REPOSITORY = Path(__file__).resolve().parents[1]  # what the images are made of, wherever the manifests are
_SAMPLE_SECRET = "k8Zq-2vXw9Lr_7TnB4mYc1HsJd6PfG0aEuRiOt3V"  # stands for the Secret's value, which is not known here


def check(rendering: Rendering) -> Iterator[Problem]:
    service = ray_service(rendering.objects)
    config = serve_config(service)
    yield from _as_stated(rendering, service, config)
    yield from _model_folders(service, config)
    yield from _places(service, config)
    yield from _chat_config(rendering, service, config)
    yield from _keys(rendering.objects, service, config)
    yield from _config_map_sizes(rendering.objects)
    yield from _frontend_settings(rendering.objects)


def _as_stated(rendering: Rendering, service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """The generated serve config has not been edited by hand."""
    try:
        if config != compose(rendering.root, rendering.folder):
            message = "is not what serve_config.yaml and the patches say: run `make manifests`"
            yield Problem(identity(service), SERVE_FIELD, message)
    except PatchError as error:
        file, _, message = str(error).partition(": ")
        yield Problem(identity(service), SERVE_FIELD, message, file)


def _model_folders(service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """The images hold the repository's models/; pods have no way to the hub, where a wrong name would be looked for."""
    for key in ("model", "fallback_model"):
        name = str(application(config)["args"].get(key))
        if name.startswith("models/") and not (_REPOSITORY / name).is_dir():
            here = ", ".join(sorted(f"models/{folder.name}" for folder in (_REPOSITORY / "models").iterdir()))
            place = application_field(config, "args", key)
            yield Problem(identity(service), place, f"there is no folder {name}; there is {here}")


def _places(service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """Every replica that is asked for, by autoscaling too, fits on a worker, and enough workers may come."""
    where = identity(service)
    model, ingress = deployment(config, MODEL), deployment(config, INGRESS)
    cpus, gpus = _amount(model, "num_cpus", 1), _amount(model, "num_gpus", 0)
    ingress_cpus = _amount(ingress, "num_cpus", 1)
    field = application_field(config, "deployments", MODEL)
    ingress_field = application_field(config, "deployments", INGRESS)
    if ingress_cpus == 0:
        place = (*ingress_field, "ray_actor_options", "num_cpus")
        yield Problem(where, place, "with 0 an ingress may run on the head, and replies end when the head does")
    room = ingress_room = 0
    for pod in pods([service]):
        if pod.role != "worker" or pod.group is None:
            continue
        offered = worker_cpus(pod.group, pod.containers[0])
        has_gpus = int(quantity(at(pod.containers[0], "resources", "limits", "nvidia.com/gpu", default=0)))
        if offered < cpus + ingress_cpus:
            message = f"a worker offers {offered:g} CPUs; a replica with an ingress needs {cpus + ingress_cpus:g}"
            yield Problem(where, (*field, "ray_actor_options", "num_cpus"), message)
        if has_gpus < gpus:
            message = f"a worker offers {has_gpus} GPUs; a replica needs {gpus:g}"
            yield Problem(where, (*field, "ray_actor_options", "num_gpus"), message)
        most = at(pod.group, "maxReplicas", default=0)
        room += most * min(_fitting(offered - ingress_cpus, cpus), _fitting(has_gpus, gpus), _per_node(model))
        ingress_room += most * min(_fitting(offered, ingress_cpus), _per_node(ingress))
    message = "up to {} replicas, but the workers that may come have room for {}"
    if (asked := _most_replicas(model)) > room:
        yield Problem(where, (*field, "autoscaling_config", "max_replicas"), message.format(asked, room))
    if (asked := _most_replicas(ingress)) > ingress_room:
        yield Problem(where, (*ingress_field, "num_replicas"), message.format(asked, ingress_room))


def _amount(deployed: dict[str, Any], resource: str, default: float) -> float:
    amount: float | None = at(deployed, "ray_actor_options", resource)
    return default if amount is None else amount


def _most_replicas(deployed: dict[str, Any]) -> int:
    fixed = deployed.get("num_replicas")
    most: int = at(deployed, "autoscaling_config", "max_replicas") or (
        _AUTO_REPLICAS if fixed == "auto" else fixed or 1
    )
    return most


_ANY_NUMBER = 2**31
_AUTO_REPLICAS = 100  # what Serve goes up to with `num_replicas: auto`


def _per_node(deployed: dict[str, Any]) -> int:
    limit: int | None = deployed.get("max_replicas_per_node")
    return _ANY_NUMBER if limit is None else limit


def _fitting(offered: float, each: float) -> int:
    """How many find room; any number of those that need nothing."""
    return max(0, int(offered // each)) if each else _ANY_NUMBER


def worker_cpus(group: Object, container: Object) -> float:
    """What the operator tells Ray: the start parameter, else the limit, else the request."""
    given = at(group, "rayStartParams", "num-cpus")
    for value in (given, *(at(container, "resources", kind, "cpu") for kind in ("limits", "requests"))):
        if value is not None:
            return quantity(value)
    return 0


def _chat_config(rendering: Rendering, service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """The application reads a file that the ConfigMap holds, and finds no mistake in it."""
    args = application(config)["args"]
    path = PurePosixPath(args.get("chat_config", _DEFAULTS["chat_config"]))
    maps = {obj["metadata"]["name"]: obj for obj in rendering.objects if obj["kind"] == "ConfigMap"}
    for pod in pods([service]):
        for container in pod.containers:
            name = _mounted(pod.spec, container, str(path.parent), "configMap", "name")
            if name is None:
                place = pod.place(container, "volumeMounts")
                yield Problem(pod.where, place, f"no ConfigMap is mounted at {path.parent}, where chat_config is")
            elif path.name not in (have := at(maps.get(name), "data", default={})):
                message = f"ConfigMap {name} has no key {path.name!r}; it has {', '.join(have) or 'none'}"
                yield Problem(pod.where, application_field(config, "args", "chat_config"), message)
    yield from _loads(
        rendering.root / "configs/chatbot.yaml",
        rendering.root,
        args.get("max_reply_tokens", _DEFAULTS["max_reply_tokens"]),
    )


def _keys(objects: list[Object], service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """Where the service asks for API keys, it reads a mounted Secret, and the frontend sends one of a Secret."""
    folder = application(config)["args"].get("keys")
    if folder is None:
        return
    for pod in pods(objects):
        for container in pod.containers:
            if pod.owner is service and _mounted(pod.spec, container, folder, "secret", "secretName") is None:
                place = pod.place(container, "volumeMounts")
                yield Problem(pod.where, place, f"no Secret is mounted at {folder}, where `keys` are")
            variables = environment(container)
            sent = at(variables, "FRONTEND_BACKEND_KEY", "valueFrom", "secretKeyRef")
            if "FRONTEND_BACKEND_URL" in variables and sent is None:
                place = pod.place(container, "env", "FRONTEND_BACKEND_KEY")
                yield Problem(pod.where, place, "must be from a Secret: the backend asks for a key (`keys`)")


def _mounted(spec: Object, container: Object, folder: str, kind: str, key: str) -> str | None:
    """The name, under `key`, of the object of that kind of volume."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        if mount["mountPath"] == folder:
            name: str | None = at(volumes.get(mount["name"]), kind, key)
            return name
    return None


def _loads(file: Path, root: Path, max_reply_tokens: int) -> Iterator[Problem]:
    try:
        asked = load(file, environment={}).config.generation.max_length
        if asked > max_reply_tokens:  # the application would not start
            message = f"{asked} is more than max_reply_tokens, {max_reply_tokens}; lower the one or raise the other"
            yield Problem("ConfigMap/chatbot", ("generation", "max_length"), message, os.path.relpath(file, root))
    except ConfigError as error:
        for sentence in str(error).removeprefix(f"{file}: ").split(f"; {file}: "):
            field, _, message = sentence.partition(": ")
            yield Problem("ConfigMap/chatbot", (field,), message, os.path.relpath(file, root))


def _config_map_sizes(objects: list[Object]) -> Iterator[Problem]:
    for obj in objects:
        if obj["kind"] != "ConfigMap":
            continue
        sizes = {key: len(value.encode()) for key, value in obj.get("data", {}).items()}
        if sum(sizes.values()) > MAX_CONFIG_MAP:
            largest = max(sizes, key=lambda key: sizes[key])
            message = f"{sizes[largest]:,} bytes; all values of a ConfigMap may have {MAX_CONFIG_MAP:,}"
            if largest == "chatbot.yaml":
                message += ": shorten `knowledge`"
            yield Problem(identity(obj), ("data", largest), message)


def _frontend_settings(objects: list[Object]) -> Iterator[Problem]:
    """The frontend's own settings class reads the environment that its pods will have."""
    for pod in pods(objects):
        for container in pod.containers:
            variables = environment(container)
            if "FRONTEND_BACKEND_URL" not in variables:
                continue
            for name in unknown_names(variables):
                yield Problem(pod.where, pod.place(container, "env", name), "is not a setting of the frontend")
            yield from _settings(pod.where, pod.place(container, "env"), variables)
            yield from _sqlite(pod, container, variables)
            if pod.spec.get("enableServiceLinks", True):
                message = "must be false: Kubernetes would set FRONTEND_PORT for the Service of that name"
                yield Problem(pod.where, (*pod.field, "enableServiceLinks"), message)


def _sqlite(pod: Pod, container: Object, variables: dict[str, Object]) -> Iterator[Problem]:
    """Where conversations are kept in a file: on a volume, which a read-only root needs, and by one replica."""
    url = variables.get("FRONTEND_DATABASE_URL", {}).get("value", "")
    if not url.startswith("sqlite:"):
        return
    folder = PurePosixPath(url.removeprefix("sqlite:///")).parent
    mounts = [PurePosixPath(mount["mountPath"]) for mount in container.get("volumeMounts", [])]
    if not any(folder.is_relative_to(mount) for mount in mounts):
        place = pod.place(container, "env", "FRONTEND_DATABASE_URL", "value")
        yield Problem(pod.where, place, f"no volume is mounted at {folder}; there is {', '.join(map(str, mounts))}")
    replicas = at(pod.owner, "spec", "replicas", default=1)
    if replicas != 1:
        yield Problem(pod.where, ("spec", "replicas"), f"{replicas}, but a SQLite file has one user; use PostgreSQL")


def _settings(where: str, field: Field, variables: dict[str, Object]) -> Iterator[Problem]:
    values = {
        name.removeprefix("FRONTEND_").lower(): variable.get("value", _SAMPLE_SECRET)
        for name, variable in variables.items()
        if name.startswith("FRONTEND_") and name not in unknown_names(variables)
    }
    try:
        frontend_settings(values)
    except ValidationError as error:
        for mistake in error.errors(include_url=False, include_input=False):
            names = [f"FRONTEND_{part}".upper() for part in mistake["loc"][:1]]
            place = (*field, *names, "value") if names else field
            yield Problem(where, place, reason(mistake))


def frontend_settings(values: dict[str, Any]) -> Settings:
    """Of these values alone: no FRONTEND_* of the shell that runs the check."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FRONTEND_")}
    try:
        return Settings(**values)
    finally:
        os.environ.update(kept)
