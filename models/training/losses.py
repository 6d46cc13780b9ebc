"""What each exit is trained on. Every function takes logits and labels of one exit and returns a scalar.

A label of -1 means that the data set does not know; such samples add nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import Tensor

from models.networks.elastic import HEADS, ExitOutput, expected_age

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def age_loss(logits: Tensor, age: Tensor, sigma_years: float, l1_weight: float) -> Tensor:
    """Cross-entropy to a Gaussian over ages around the label (to the label itself where sigma is 0, as in the paper), plus
    the absolute error of the expectation.

    The distribution tells the network that 31 is nearly right for 30; the second term is what is judged (MAE).
    """
    known = age >= 0
    logits, age = logits[known].float(), age[known].float()
    if not len(age):
        return logits.sum()
    classes = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    distance = (classes - age[:, None]) ** 2
    target = torch.softmax(-distance / (2 * sigma_years**2), dim=1) if sigma_years else (distance == 0).to(logits.dtype)
    log_p = torch.log_softmax(logits, dim=1)
    spread = -(target * log_p).sum(dim=1).mean()
    return spread + l1_weight * (expected_age(log_p.exp()) - age).abs().mean()


def class_loss(logits: Tensor, label: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over the samples whose label is known."""
    known = label >= 0
    if not known.any():
        return logits[known].sum()
    return functional.cross_entropy(logits[known].float(), label[known].long(), label_smoothing=smoothing)


def expression_loss(logits: Tensor, label: Tensor, shares: Tensor | None = None) -> Tensor:
    """Cross-entropy to the (n, 7) shares of FER+'s votes, and to the label where there are none (all zeros)."""
    voted = torch.zeros_like(label, dtype=torch.bool) if shares is None else shares.sum(dim=1) > 0
    if shares is None or not voted.any():
        return class_loss(logits, label, smoothing=0.05)
    by_vote = -(shares * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)
    told = ~voted & (label >= 0)
    by_label = class_loss(logits, torch.where(told, label, -1), smoothing=0.05)
    count = voted.sum() + told.sum()
    return (by_vote[voted].sum() + told.sum() * by_label) / count


def exit_loss(
    output: ExitOutput, labels: Mapping[str, Tensor], weights: Mapping[str, float], sigma_years: float
) -> Tensor:
    """The weighted sum of one exit's losses, of what it tells. `weights`: age, age_l1, gender, expression."""
    loss = weights["age"] * age_loss(output.age, labels["age"], sigma_years, weights["age_l1"])
    if output.gender is not None:
        loss = loss + weights["gender"] * class_loss(output.gender, labels["gender"])
    if output.expression is not None:
        told = expression_loss(output.expression, labels["expression"], labels.get("shares"))
        loss = loss + weights["expression"] * told
    return loss


def distillation_loss(student: ExitOutput, teacher: ExitOutput) -> Tensor:
    """Cross-entropy of every head to the teacher's distribution, which gets no gradient (Phuong & Lampert, 2019).

    The teacher has an opinion on every face, also where the data set has no label: UTKFace on expression, FER2013 on age.
    """
    answers = [torch.softmax(logits.detach().float(), dim=1) for logits in teacher.told().values()]
    return cross_entropy_to(list(student.told().values()), answers)


def cross_entropy_to(student: Sequence[Tensor], answers: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of every head to given probabilities, (n, classes) each, summed over the heads."""
    terms = [
        -(p * torch.log_softmax(mine.float(), dim=1)).sum(dim=1).mean()
        for mine, p in zip(student, answers, strict=True)
    ]
    return torch.stack(terms).sum()


def elastic_loss(
    outputs: Mapping[str, ExitOutput],
    exit_weights: Mapping[str, float],
    labels: Mapping[str, Tensor],
    weights: Mapping[str, float],
    sigma_years: float,
    distil: float = 0.0,
    teacher: float = 0.0,
    teacher_heads: Sequence[str] = (),
) -> Tensor:
    """Eq. (1) of the paper, the sum over exits of weight times loss; with `distil`, the deepest exit teaches the others; with
    `teacher`, another network's probabilities (n, classes), labels `teacher_age` and so on, teach them all,
    in the heads that `teacher_heads` names (none: in all)."""
    deepest = list(exit_weights)[-1]
    terms = []
    for name, weight in exit_weights.items():
        if weight > 0:
            term = exit_loss(outputs[name], labels, weights, sigma_years)
            if distil and name != deepest:
                term = term + distil * distillation_loss(outputs[name], outputs[deepest])
            if teacher:
                student = {head: p for head, p in outputs[name].told().items() if head in (teacher_heads or HEADS)}
                answers = [labels[f"teacher_{head}"] for head in student]
                term = term + teacher * cross_entropy_to(list(student.values()), answers)
            terms.append(weight * term)
    return torch.stack(terms).sum()
