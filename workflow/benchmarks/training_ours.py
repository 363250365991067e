"""Our side of the training benchmark: the stages that a training has, on random pictures, captions and codes."""

from typing import Any

from workflow.benchmarks.training_steps import Built, serve


def build(given: dict[str, Any]) -> Built:
    """``given["model"]`` is prior, patches or published."""
    import torch

    stage = prior(given) if given["model"] == "prior" else dvae(given)
    indices, generator = torch.arange(given["batch"]), torch.Generator()
    return stage.model.parameters(), lambda: stage(indices, 0, generator)[0]


def prior(given: dict[str, Any]) -> Any:
    """With ``given["attention"]``: windows or dense."""
    import torch

    from dalle.models.transformer import Shape, Transformer
    from dalle.systems.prior import PriorStage

    shape = Shape(**given["shape"])
    text = torch.randint(shape.text_vocab, (1, given["batch"], shape.text_context))
    codes = torch.randint(shape.codes, (given["batch"], shape.cells))
    return PriorStage(Transformer(shape, given["attention"]), text, codes, text_loss=1 / 8)


def dvae(given: dict[str, Any]) -> Any:
    """Laid out in memory as a training has it."""
    import torch

    from dalle.config.models import DVAE
    from dalle.models.dvae import make_dvae
    from dalle.systems.dvae import DVAEStage

    settings = DVAE(architecture=given["model"], start="random", **given["shape"])
    pixels = torch.randint(256, (given["batch"], 3, given["side"], given["side"]), dtype=torch.uint8)
    return DVAEStage(make_dvae(settings).to(memory_format=torch.channels_last), pixels, settings)


if __name__ == "__main__":
    serve(build)
