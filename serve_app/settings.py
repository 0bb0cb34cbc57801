"""How the application is deployed (AppArgs) and what it says (ChatConfig). Frozen, and strict about unknown names."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from serve_app.messages import LONGEST_REPLY, Generation, Text


class AppArgs(BaseModel):
    """`args` of serve_config.yaml. A change of one of these restarts the replicas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(description="hub id, or a folder that holds a transformers T5 checkpoint")] = (
        "microsoft/GODEL-v1_1-base-seq2seq"
    )
    revision: Annotated[
        str | None, Field(description="branch, tag or commit of a hub id; null: the default branch")
    ] = None
    fallback_model: Annotated[
        str | None,
        Field(description="folder of the model to use where `model` cannot be had; null: start-up fails then"),
    ] = None
    hub_timeout_s: Annotated[float, Field(gt=0, le=15, description="how long to wait for the hub's answer")] = 10
    chat_config: Annotated[str, Field(description="the file that says what the chatbot says")] = "configs/chatbot.yaml"
    keys: Annotated[
        str | None,
        Field(
            description="a file, or a folder such as a mounted Secret, of the API keys that may ask (re-read while "
            "running; docs/api.md); null: everybody may"
        ),
    ] = None
    demo: Annotated[
        bool,
        Field(
            description="let who may ask end a model replica (POST /demo/end), to show that its replies go on elsewhere"
        ),
    ] = False
    slots: Annotated[int, Field(ge=1, le=1024, description="requests that one model replica decodes at a time")] = 16
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="where the model is computed; auto: a GPU if there is one")
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "int8", "bfloat16", "float16", "float32"],
        Field(
            description="arithmetic of the matrix products; auto: int8 on a CPU with AVX2, AVX-512 VNNI or ARM's dot "
            "products where there is a C compiler (elsewhere: docs/speed.md), bfloat16 on a GPU (else float16); "
            "float32 writes what transformers writes, token for token"
        ),
    ] = "auto"
    threads: Annotated[
        int | None, Field(ge=1, description="CPU threads of one model replica; null: the CPUs that Ray gives it")
    ] = None
    max_prompt_tokens: Annotated[int, Field(ge=32, le=2048, description="the model's window; GODEL's is 512")] = 512
    max_reply_tokens: Annotated[int, Field(ge=2, le=LONGEST_REPLY, description="upper limit of max_length")] = 256
    prefill_tokens: Annotated[
        int,
        Field(
            ge=1,
            description="prompt tokens encoded at most between two decoding steps: the bound of how long joining "
            "requests stall running replies; a longer prompt goes alone",
        ),
    ] = 1024
    encoding_cache_mb: Annotated[
        int,
        Field(
            ge=0,
            description="MiB of recent prompts' encodings that one model replica keeps, so that it need not encode the "
            "same prompt again; 0: off",
        ),
    ] = 64
    weights_cache_mb: Annotated[
        int,
        Field(
            ge=0,
            description="MiB of weights in int8 that may be left on disk, in the user's cache folder: replicas of one "
            "machine share them in memory and start sooner; of a larger model each has its own; 0: off",
        ),
    ] = 1024
    request_timeout_s: Annotated[
        float, Field(gt=0, description="a reply that is not complete by then ends with 504")
    ] = 60
    cold_start_s: Annotated[
        float | None,
        Field(
            ge=0,
            description="where autoscaling may leave no model replica (`min_replicas: 0`), how long a request waits "
            "for the one that it has started; then, with 0 at once, it is refused with 503 `starting` and Retry-After. "
            "null: without a replica the service is out of order",
        ),
    ] = None
    max_waiting: Annotated[
        int,
        Field(
            ge=0,
            description="requests of one ingress that may wait while all slots are taken; beyond that: 429 with "
            "Retry-After. Serve's own `max_queued_requests` should be no less",
        ),
    ] = 64
    stall_limit_s: Annotated[
        float,
        Field(
            gt=0,
            description="a model replica that answers nothing, or makes no step, for so long is taken for stalled: "
            "others go on with its replies, and Serve replaces it; more than it takes to encode the longest prompt",
        ),
    ] = 10
    max_body_bytes: Annotated[int, Field(ge=1024, description="a larger request body is refused with 413")] = (
        2 * 1024**2
    )
    max_turn_chars: Annotated[
        int, Field(ge=1, description="a longer turn, or instruction of a request, is refused with 422")
    ] = 16_000
    max_dialog_chars: Annotated[
        int, Field(ge=1, description="a dialogue of longer turns in all is refused with 422")
    ] = 500_000
    max_knowledge_chars: Annotated[
        int,
        Field(
            ge=0, description="a longer knowledge of a request is refused with 422; the configured one may be longer"
        ),
    ] = 200_000


class History(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_turns: Annotated[
        int, Field(ge=1, description="newest turns that a prompt may hold, the last question included")
    ] = 10


class GroundingLimits(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_passages: Annotated[int, Field(ge=0, le=50, description="most passages in a prompt; 0: no grounding")] = 12
    passage_words: Annotated[int, Field(ge=5, le=400, description="most words of a passage")] = 40


class ChatConfig(BaseModel):
    """configs/chatbot.yaml. Re-read while running."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: Annotated[StrictStr, Field(min_length=1, description="tells the model what to do")]
    knowledge: Annotated[Text, Field(description="plain text that replies are grounded in; may be empty")]
    generation: Generation = Generation()
    history: History = History()
    grounding: GroundingLimits = GroundingLimits()
    logging_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="how much the ingress logs; never what users type"),
    ] = "INFO"
