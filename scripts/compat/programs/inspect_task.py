"""Samples whose answer has their own name in it: `count` of each word."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def echo(words="inspect", count=6):
    names = [f"{word}-{number}" for word in words.split("+") for number in range(count)]
    return Task(
        dataset=[Sample(id=name, input=f"{name} says so", target=name) for name in names],
        solver=generate(),
        scorer=includes(),
    )
