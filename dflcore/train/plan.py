"""What a run really does: the settings with everything filled in that they leave to the preset."""

from __future__ import annotations

from typing import TypeVar

from dflcore.config.train import TrainSettings
from dflcore.errors import Internal
from dflcore.models.registry import Recipe

_Value = TypeVar("_Value")
_FROM_RECIPE = ("batch_size", "learning_rate", "optimizer", "lr_dropout", "lr_cycle", "clip_gradients", "ema_decay")
_PRETRAINING = {
    "random_warp": False,
    "random_flip_source": True,
    "random_flip_target": True,
    "uniform_yaw": True,
    "random_hsv": 0.0,
    "color_transfer": "none",
    "lr_dropout": 0.0,
    "face_style_power": 0.0,
    "background_style_power": 0.0,
    "true_face_power": 0.0,
    "gan_power": 0.0,
}
"""What pretraining does whatever else is set. TrueFace rests too: the reference goes on pushing codes towards a critic
that does not learn meanwhile."""
_DECAYS = {"adam": (0.9, 0.999), "adabelief": (0.9, 0.999), "rmsprop": (0.0, 0.9)}


def resolve_settings(settings: TrainSettings, recipe: Recipe) -> TrainSettings:
    """The settings with the preset's values where they say nothing, and pretraining's where it decides.

    Every field of :data:`_FROM_RECIPE` has a value afterwards.
    """
    filled: dict[str, object] = {
        name: getattr(recipe, name) for name in _FROM_RECIPE if getattr(settings, name) is None
    }
    filled["eyes_mouth_priority"] = settings.eyes_mouth_priority or recipe.eyes_mouth_priority
    if settings.pretrain:
        filled |= _PRETRAINING
    return TrainSettings.from_values({**settings.values(), **filled})


def filled(value: _Value | None) -> _Value:
    """A field of resolved settings that has a value."""
    if value is None:
        raise Internal("These settings of training were not resolved.", reason="NOT_RESOLVED")
    return value


def decays_of(settings: TrainSettings, recipe: Recipe) -> tuple[float, float]:
    """Decays of the optimiser's first and second moment: the preset's, or the usual ones of another optimiser."""
    if settings.optimizer in (None, recipe.optimizer):
        return recipe.beta1, recipe.beta2
    return _DECAYS[settings.optimizer]
