"""What there is of a reply while it is being written."""

from pydantic import BaseModel, ConfigDict

from frontend.origin import Origin


class Draft(BaseModel):
    """The text so far. Where a reply begins anew, another draft begins, with the next number."""

    model_config = ConfigDict(frozen=True)

    number: int = 0
    text: str = ""
    origin: Origin | None = None  # once it is known who writes it
    is_starting: bool = False  # the backend has no replica yet, and starts one
