"""The networks a face model is trained against: whose code is it, and is it a photograph?

A critic judges what was painted, and then learns from the same pictures. The reference paints everything once more for
that, with weights a step younger, which costs a pass and teaches the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt
from dflcore.models.discriminators import CodeDiscriminator, PatchDiscriminator
from dflcore.models.face_model import TARGET, FaceModel, Painted
from dflcore.progress import Notice
from dflcore.train import session
from dflcore.train.batches import SideBatch
from dflcore.train.losses.adversarial import (
    gan_discriminator,
    gan_generator,
    quiet_outside,
    true_face_discriminator,
    true_face_generator,
)
from dflcore.train.losses.reconstruction import MaskBlur
from dflcore.train.optim.build import build_optimizer, set_learning_rate
from dflcore.train.parallel.group import TrainingGroup
from dflcore.train.plan import filled

TRUE_FACE = "true_face"
GAN = "gan"
_PREFIX = "critic."
_DEFAULT_PATCH_SHARE = 8
_BETA2 = 0.999

People = Mapping[str, Painted]
Batches = Mapping[str, SideBatch]


@dataclass(frozen=True, slots=True)
class Critic:
    """One critic.

    Attributes:
        network: what judges.
        wish: what the face model minimises, so that the critic cannot tell; the critic's weights rest.
        lesson: what the critic minimises, from detached pictures.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    wish: Callable[[People, Batches], Tensor]
    lesson: Callable[[People, Batches], Tensor]


class Critics:
    """The critics of one run by name; there may be none.

    Args:
        settings: resolved, see :func:`dflcore.train.plan.resolve_settings`.
        model: the face model; on its device already.
        group: critics of all processes learn together.
    """

    def __init__(self, settings: TrainSettings, model: FaceModel, device: torch.device, group: TrainingGroup) -> None:
        self._group = group
        self._unused: dict[str, Tensor] = {}
        self._critics: dict[str, Critic] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed + 1)  # the same critics for the same seed
            if settings.true_face_power:
                self._critics[TRUE_FACE] = _make_code_critic(settings, model, device)
            if settings.gan_power:
                self._critics[GAN] = _make_patch_critic(settings, model, device)

    def networks(self) -> tuple[nn.Module, ...]:
        return tuple(critic.network for critic in self._critics.values())

    def judge(self, painted: People, batches: Batches) -> dict[str, Tensor]:
        """What the face model is to minimise besides everything else, by critic."""
        losses = {}
        for name, critic in self._critics.items():
            with _resting(critic.network):
                losses[name] = critic.wish(painted, batches)
        return losses

    def learn_from(self, painted: People, batches: Batches, times: int) -> dict[str, Tensor]:
        """Gradients of one batch, of the ``times`` that are added up; the lessons' losses, detached."""
        detached = {name: Painted(*(tensor.detach() for tensor in one)) for name, one in painted.items()}
        losses = {}
        for name, critic in self._critics.items():
            loss = critic.lesson(detached, batches)
            (loss / times).backward()  # type: ignore[no-untyped-call]
            losses[f"{name}_critic"] = loss.detach()
        return losses

    def step(self, rate: float) -> None:
        """Let what was learnt count."""
        for critic in self._critics.values():
            self._group.average_gradients(critic.network.parameters())
            set_learning_rate(critic.optimizer, rate)
            critic.optimizer.step()
            critic.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser state; of critics that rest in this run, what they were given."""
        tensors = dict(self._unused)
        for name, critic in self._critics.items():
            prefix = f"{_PREFIX}{name}."
            tensors |= {f"{prefix}weights.{key}": value for key, value in critic.network.state_dict().items()}
            tensors |= session.optimizer_tensors(f"{prefix}optimizer", critic.network, critic.optimizer)
        return tensors

    def restore(self, training: Mapping[str, Tensor]) -> list[Notice]:
        """Go on from what :meth:`tensors` gave; a critic of another size starts anew and says so."""
        self._unused = {
            name: tensor
            for name, tensor in training.items()
            if name.startswith(_PREFIX) and name.split(".")[1] not in self._critics
        }
        notices: list[Notice] = []
        for name, critic in self._critics.items():
            prefix = f"{_PREFIX}{name}.weights."
            weights = {key[len(prefix) :]: value for key, value in training.items() if key.startswith(prefix)}
            if not weights:
                continue
            try:
                _require_shapes(weights, critic.network)
                critic.network.load_state_dict(weights)
                session.restore_optimizer(f"{_PREFIX}{name}.optimizer", critic.network, critic.optimizer, training)
            except (RuntimeError, DataCorrupt):
                message = f"The {name} critic has another size than the one trained before; it starts anew."
                notices.append(Notice(message=message, reason="CRITIC_STARTED_ANEW", severity="info"))
        return notices


def _require_shapes(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raises RuntimeError before anything is copied, where not all of it fits."""
    own = {name: value.shape for name, value in network.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != own:
        raise RuntimeError("another size")


def _make_code_critic(settings: TrainSettings, model: FaceModel, device: torch.device) -> Critic:
    """Of every source's codes against the target's."""
    channels, height, _ = _code_shape(model, device)
    network = CodeDiscriminator(channels, height).to(device)
    sources = [name for name in model.identities if name != TARGET]

    def logits(painted: People) -> tuple[Tensor, Tensor]:
        of_sources = torch.cat([network(model.compared_code(painted[name].code)) for name in sources])
        return of_sources, network(model.compared_code(painted[TARGET].code))

    def wish(painted: People, _: Batches) -> Tensor:
        codes = torch.cat([model.compared_code(painted[name].code) for name in sources])
        return settings.true_face_power * true_face_generator(network(codes))

    def lesson(painted: People, _: Batches) -> Tensor:
        return true_face_discriminator(*logits(painted))

    return Critic(network, _optimizer(settings, network), wish, lesson)


def _make_patch_critic(settings: TrainSettings, model: FaceModel, device: torch.device) -> Critic:
    """Of every source's painted face; where one decoder paints a mixture of both people, of the target's too."""
    patch = settings.gan_patch_size or max(3, model.resolution // _DEFAULT_PATCH_SHARE)
    network = PatchDiscriminator(patch, settings.gan_dims, model.resolution).to(device)
    grow = MaskBlur(model.resolution).to(device)
    people = [name for name in model.identities if name != TARGET or model.has_morph]

    def pictures(painted: People, batches: Batches) -> tuple[Tensor, Tensor, Tensor]:
        """Painted and real faces, cut out where only they are trained, and what is outside."""
        faces = torch.cat([painted[name].face for name in people])
        real = torch.cat([batches[name].face for name in people])
        inside = grow(torch.cat([batches[name].mask for name in people]))
        if not settings.masked_training:
            return faces, real, torch.zeros_like(inside)
        return faces * inside, real * inside, 1 - inside

    def wish(painted: People, batches: Batches) -> Tensor:
        faces, _, outside = pictures(painted, batches)
        loss = settings.gan_power * gan_generator(network(faces))
        if settings.masked_training:
            whole = torch.cat([painted[name].face for name in people])
            loss = loss + quiet_outside(whole, torch.cat([batches[name].face for name in people]), outside)
        return loss

    def lesson(painted: People, batches: Batches) -> Tensor:
        faces, real, _ = pictures(painted, batches)
        return gan_discriminator(network(real), network(faces))

    return Critic(network, _optimizer(settings, network), wish, lesson)


def _optimizer(settings: TrainSettings, network: nn.Module) -> torch.optim.Optimizer:
    return build_optimizer(
        network.parameters(),
        filled(settings.learning_rate),
        _BETA2,
        name="adabelief",
        lr_dropout=filled(settings.lr_dropout),
        offload=settings.offload_optimizer,
    )


@torch.no_grad()
def _code_shape(model: FaceModel, device: torch.device) -> tuple[int, int, int]:
    """Channels, height and width of the codes that are compared."""
    face = torch.zeros(1, 3, model.resolution, model.resolution, device=device)
    was_training = model.training
    model.eval()
    code = model.compared_code(model.reconstruct({TARGET: face})[TARGET].code)
    model.train(was_training)
    return code.shape[1], code.shape[2], code.shape[3]


@contextlib.contextmanager
def _resting(network: nn.Module) -> Iterator[None]:
    """What is computed inside gives the network no gradients."""
    learning: Iterable[nn.Parameter] = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
