"""What the life-cycle programs share: `run({name: function})` runs one of them and prints its answer as one line of JSON."""

import json
import sys
import time

MODEL = "sim-model"


def texts(word, count):
    return [f"{word}-{number} says so" for number in range(count)]


def messages(text):
    return [{"role": "user", "content": text}]


def wait(what, ask, seconds=90):
    """Asks until there is an answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise TimeoutError(what)


def refused(call):
    """The exception that a call raises, as a client's handler sees it."""
    try:
        call()
    except Exception as error:  # every one is looked at
        return {
            "class": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "message": str(error),
            "answer": error.response.json() if hasattr(error, "response") else None,
        }
    return None


def run(scenarios):
    print(json.dumps(scenarios[sys.argv[2]](*sys.argv[3:]), default=str))
