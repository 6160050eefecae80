from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def echo():
    return Task(dataset=[Sample(input=f"inspect-{n} says so", target=f"inspect-{n}") for n in range(6)], solver=generate(), scorer=includes())
