"""The values themselves, by the code that will read them: Serve, the application, the frontend; and their sizes."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from frontend.settings import Settings, unknown_names
from serve_app.chat_config import load
from serve_app.errors import ConfigError, reason
from serve_app.settings import AppArgs
from tools.manifests.objects import (
    Field,
    Object,
    Pod,
    Problem,
    at,
    environment,
    identity,
    item_key,
    pods,
    ray_service,
)
from tools.manifests.render import Rendering
from tools.manifests.serve_config import PatchError, compose

MAX_CONFIG_MAP = 1024**2  # the API server's limit on all values of a ConfigMap
SERVE_FIELD = ("spec", "serveConfigV2")
INGRESS, MODEL = "Ingress", "GodelModel"
_REPOSITORY = Path(__file__).resolve().parents[2]  # what the images are made of, wherever the manifests are
_SAMPLE_SECRET = "k8Zq-2vXw9Lr_7TnB4mYc1HsJd6PfG0aEuRiOt3V"  # stands for the Secret's value, which is not known here


def check(rendering: Rendering) -> Iterator[Problem]:
    yield from _serve_config(rendering)
    yield from _chat_config(rendering)
    yield from _config_map_sizes(rendering.objects)
    yield from _frontend_settings(rendering.objects)


def serve_config(service: Object) -> dict[str, Any]:
    """What the RayService gives to Serve."""
    config: dict[str, Any] = yaml.safe_load(at(service, *SERVE_FIELD, default="{}")) or {}
    return config


def application(config: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = config["applications"][0]
    return first


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next((each for each in application(config)["deployments"] if each["name"] == name), {})


def _serve_config(rendering: Rendering) -> Iterator[Problem]:
    service = ray_service(rendering.objects)
    where = identity(service)
    try:
        stated = compose(rendering.root, rendering.folder)
    except PatchError as error:
        file, _, message = str(error).partition(": ")
        yield Problem(where, SERVE_FIELD, message, file)
        return
    try:
        config = serve_config(service)
    except yaml.YAMLError as error:
        yield Problem(where, SERVE_FIELD, f"is not YAML: {error}")
        return
    if config != stated:
        yield Problem(where, SERVE_FIELD, "is not what serve_config.yaml and the patches say: run `make manifests`")
    yield from _by_model(where, ServeDeploySchema, config, SERVE_FIELD)
    yield from _unknown_settings(where, config)
    for app in config.get("applications", []):
        field = (*SERVE_FIELD, "applications", app["name"], "args")
        yield from _by_model(where, AppArgs, app.get("args", {}), field)
        yield from _model_folders(where, app.get("args", {}), field)
        for each in app.get("deployments", []):  # Serve's schema takes any mapping here, and reads it at deployment
            place = (*field[:-1], "deployments", each["name"], "autoscaling_config")
            yield from _by_model(where, AutoscalingConfig, each.get("autoscaling_config", {}), place)
    yield from _places(service, config)


def _by_model(where: str, model: Any, values: Any, field: Field) -> Iterator[Problem]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            place = _path(values, mistake["loc"])
            value = "" if isinstance(mistake["input"], dict) else f", not {mistake['input']!r}"
            yield Problem(where, (*field, *place), reason(mistake) + value)


def _unknown_settings(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    """Serve's schema passes over keys that it does not know, so a misspelt one would change nothing."""
    parts: list[tuple[type[BaseModel], Any, Field]] = [
        (ServeDeploySchema, config, ()),
        (HTTPOptionsSchema, config.get("http_options"), ("http_options",)),
        (LoggingConfig, config.get("logging_config"), ("logging_config",)),
    ]
    for app in config.get("applications", []):
        place: Field = ("applications", app["name"])
        parts.append((ServeApplicationSchema, app, place))
        for each in app.get("deployments", []):
            inner = (*place, "deployments", each["name"])
            parts.append((DeploymentSchema, each, inner))
            parts.append((RayActorOptionsSchema, each.get("ray_actor_options"), (*inner, "ray_actor_options")))
            parts.append((AutoscalingConfig, each.get("autoscaling_config"), (*inner, "autoscaling_config")))
    for model, values, field in parts:
        for key in values or {}:
            if key not in model.model_fields:
                close = get_close_matches(key, model.model_fields, n=1)
                meant = f"; did you mean {close[0]}?" if close else ""
                yield Problem(where, (*SERVE_FIELD, *field, key), f"Serve has no such setting{meant}")


def _model_folders(where: str, args: Object, field: Field) -> Iterator[Problem]:
    """The images hold the repository's models/; pods have no way to the hub, where a wrong name would be looked for."""
    for key in ("model", "fallback_model"):
        name = str(args.get(key))
        if name.startswith("models/") and not (_REPOSITORY / name).is_dir():
            here = ", ".join(sorted(f"models/{folder.name}" for folder in (_REPOSITORY / "models").iterdir()))
            yield Problem(where, (*field, key), f"there is no folder {name}; there is {here}")


def _path(values: Any, loc: tuple[int | str, ...]) -> Field:
    """Pydantic's location, with list items by name and without the names of union members."""
    path: list[str] = []
    for step in loc:
        if isinstance(values, list) and isinstance(step, int):
            values = values[step]
            path.append(item_key(values, step))
        elif isinstance(values, dict):
            values = values.get(step)
            path.append(str(step))
    return tuple(path)


def _places(service: Object, config: dict[str, Any]) -> Iterator[Problem]:
    """Every replica that autoscaling may ask for fits on a worker, and enough workers may come."""
    where = identity(service)
    groups = [pod for pod in pods([service]) if pod.role == "worker" and pod.group]
    model = at(deployment(config, MODEL), "ray_actor_options", default={})
    ingress = at(deployment(config, INGRESS), "ray_actor_options", default={})
    cpus = model.get("num_cpus", 1) + ingress.get("num_cpus", 1)
    gpus = model.get("num_gpus", 0)
    field = (*SERVE_FIELD, "applications", application(config)["name"], "deployments", MODEL)
    if ingress.get("num_cpus", 1) == 0:
        place = (*field[:-1], INGRESS, "ray_actor_options", "num_cpus")
        yield Problem(where, place, "with 0 an ingress may run on the head, and replies end when the head does")
    room = 0
    for pod in groups:
        offered = worker_cpus(pod.group or {}, pod.containers[0])
        has_gpus = int(at(pod.containers[0], "resources", "limits", "nvidia.com/gpu", default=0))
        per_worker = int((offered - ingress.get("num_cpus", 1)) // model.get("num_cpus", 1))
        if gpus:
            per_worker = min(per_worker, has_gpus // gpus)
        room += per_worker * at(pod.group, "maxReplicas", default=0)
        if offered < cpus:
            message = f"a worker offers {offered:g} CPUs; a replica with an ingress needs {cpus:g}"
            yield Problem(where, (*field, "ray_actor_options", "num_cpus"), message)
        if has_gpus < gpus:
            message = f"a worker offers {has_gpus} GPUs; a replica needs {gpus}"
            yield Problem(where, (*field, "ray_actor_options", "num_gpus"), message)
    most = at(deployment(config, MODEL), "autoscaling_config", "max_replicas", default=1)
    if most > room:
        message = f"up to {most} replicas, but the workers that may come have room for {room}"
        yield Problem(where, (*field, "autoscaling_config", "max_replicas"), message)


def worker_cpus(group: Object, container: Object) -> float:
    """What the operator tells Ray: the start parameter, else the limit, else the request."""
    given = at(group, "rayStartParams", "num-cpus")
    for value in (given, *(at(container, "resources", kind, "cpu") for kind in ("limits", "requests"))):
        if value is not None:
            text = str(value)
            return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    return 0


def _chat_config(rendering: Rendering) -> Iterator[Problem]:
    """The application reads a file that the ConfigMap holds, and finds no mistake in it."""
    service = ray_service(rendering.objects)
    path = PurePosixPath(at(application(serve_config(service)), "args", "chat_config", default=""))
    maps = {obj["metadata"]["name"]: obj for obj in rendering.objects if obj["kind"] == "ConfigMap"}
    for pod in pods([service]):
        for container in pod.containers:
            name = _mounted_config_map(pod.spec, container, str(path.parent))
            if name is None:
                place = pod.place(container, "volumeMounts")
                yield Problem(pod.where, place, f"no ConfigMap is mounted at {path.parent}, where chat_config is")
            elif path.name not in at(maps.get(name), "data", default={}):
                field = (
                    *SERVE_FIELD,
                    "applications",
                    application(serve_config(service))["name"],
                    "args",
                    "chat_config",
                )
                have = ", ".join(at(maps.get(name), "data", default={})) or "none"
                yield Problem(pod.where, field, f"ConfigMap {name} has no key {path.name!r}; it has {have}")
    file = rendering.root / "configs/chatbot.yaml"
    default = AppArgs.model_fields["max_reply_tokens"].default
    most = at(application(serve_config(service)), "args", "max_reply_tokens", default=default)
    yield from _loads(file, rendering.root, most)


def _mounted_config_map(spec: Object, container: Object, folder: str) -> str | None:
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        if mount["mountPath"] == folder:
            name: str | None = at(volumes.get(mount["name"]), "configMap", "name")
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
