"""What every table of a config is made of: strict keys, and values that are not taken for others."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


def sentence(text: str) -> PydanticCustomError:
    """Return an error that is told in whole, where others are told as what was expected."""
    return PydanticCustomError("sentence", "{text}", {"text": text})


def _number(value: Any) -> Any:
    # Python takes true for 1; a config that says `count = true` means something else.
    if isinstance(value, bool):
        raise ValueError("a number")
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Int = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Location = Annotated[str, BeforeValidator(_text)]


class Section(BaseModel):
    """A table of the config: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
