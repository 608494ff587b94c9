"""What every section of portcullis.yaml is made of."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic.alias_generators import to_camel

OBJECT_NAME: Final = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"
"""Of a Secret or another object, or nothing."""


class Section(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def _anchored(path: Path, info: ValidationInfo) -> Path:
    """Relative paths are relative to the configuration file, wherever the program is started."""
    base = (info.context or {}).get("base", Path())
    return Path(base) / path.expanduser()


ConfigPath = Annotated[Path, AfterValidator(_anchored)]
