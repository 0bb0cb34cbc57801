"""How long the engine takes on one kind of machine: measured (`python -m capacity.calibrate`), kept as JSON."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

CPU = Path(__file__).with_name("service_times") / "cpu.json"

_Seconds = Annotated[float, Field(ge=0)]

_ENGINE_TIMES = ("step_s", "step_per_reply_s", "encode_per_token_s", "encode_s")


class ServiceTimes(BaseModel):
    """Of one replica. A step writes one token of each running reply; prompts are encoded between steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    model: str
    commit: str  # of the code that was measured
    step_s: _Seconds  # a decoding step, whatever it holds
    step_per_reply_s: _Seconds  # and for each reply in it
    encode_per_token_s: _Seconds  # of prompts
    encode_s: _Seconds  # of each prompt
    start_s: _Seconds  # from the autoscaler's decision until a replica is ready
    ingress_s: _Seconds  # of the way through proxy and ingress, there and back
    shared_cores: Annotated[float, Field(ge=1)]  # times as long, where proxy and ingress run on the replica's cores

    def beside_others(self) -> "ServiceTimes":
        """Of a replica that shares its cores with the rest of the service, as on one machine."""
        slower = {name: getattr(self, name) * self.shared_cores for name in _ENGINE_TIMES}
        return self.model_copy(update=slower | {"shared_cores": 1.0})

    def step(self, replies: int) -> float:
        return self.step_s + self.step_per_reply_s * replies

    def encode(self, prompt_tokens: list[int]) -> float:
        return self.encode_s * len(prompt_tokens) + self.encode_per_token_s * sum(prompt_tokens)


def load(path: Path = CPU) -> ServiceTimes:
    """Raises pydantic.ValidationError that names the field."""
    return ServiceTimes.model_validate_json(path.read_text(encoding="utf-8"))
