"""What the pictures are judged by."""

from pydantic import Field, model_validator

from dalle.config.settings import Settings


class Evaluation(Settings):
    """What the pictures are judged by. The protocols are the files of eval/protocols."""

    protocols: tuple[str, ...] = Field(
        ("fid.imagenet-lite@1", "is.imagenet-lite@1", "clip.own@1"),
        min_length=1,
        description="which numbers, by which rules: FID and its kin, Inception Score, agreement with the caption",
    )
    blur: tuple[float, ...] = Field(
        (0, 1, 2, 4, 8), description="Gaussian radii in pixels of a 256-pixel picture, both sides blurred"
    )
    blur_protocol: str = Field("blur.pil@1", description="what a radius means")
    weights: dict[str, str] = Field(
        {}, description="files of networks' weights, by the network's name; without one the library's own download"
    )
    replicates: int = Field(200, ge=50, description="resamples of the prompts, from which the intervals are taken")

    @model_validator(mode="after")
    def _radii(self) -> "Evaluation":
        if (
            not self.blur
            or min(self.blur) < 0
            or len({f"{radius:g}" for radius in self.blur}) < len(self.blur)
            or 0 not in self.blur
        ):
            raise ValueError(f"blur: {list(self.blur)} must be distinct radii ≥ 0, 0 among them")
        return self
