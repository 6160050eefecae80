"""
Lives of batches with PyPI's openai, unmodified: `openai_life.py BASE_URL SCENARIO`; the key and, as JSON, headers that a
proxy wants come from the environment.
"""

import asyncio
import io
import json
import os
import sys

from openai import AsyncOpenAI, OpenAI

from life import MODEL, messages, refused, run, texts, wait

ENDED = ("completed", "failed", "expired", "cancelled")
ENDPOINT = "/v1/chat/completions"
settings = {"base_url": sys.argv[1], "default_headers": json.loads(os.environ.get("COMPAT_HEADERS", "{}"))}
client = OpenAI(**settings)


def line(text, url=ENDPOINT):
    asked = {"/v1/embeddings": {"input": text}, "/v1/completions": {"prompt": text}}
    body = {"model": MODEL, **asked.get(url, {"messages": messages(text)})}
    return {"custom_id": text.split(" ")[0], "method": "POST", "url": url, "body": body}


def upload(lines):
    text = "".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in lines)
    return client.files.create(file=("in.jsonl", io.BytesIO(text.encode())), purpose="batch")


def create(lines, **more):
    options = {"endpoint": ENDPOINT, "completion_window": "24h", **more}
    return client.batches.create(input_file_id=upload(lines).id, **options)


def end(batch):
    def ask():
        now = client.batches.retrieve(batch.id)
        return now if now.status in ENDED else None

    return wait(f"the end of {batch.id}", ask)


def midway(batch, succeeded):
    wait("half of the answers", lambda: client.batches.retrieve(batch.id).request_counts.completed == succeeded)


def read(file_id):
    return [] if file_id is None else [json.loads(one) for one in client.files.content(file_id).text.splitlines()]


def story(batch):
    """An ended batch and its two files, as far as a client can see."""
    output, errors = read(batch.output_file_id), read(batch.error_file_id)
    return {
        "status": batch.status,
        "counts": batch.request_counts.to_dict(),
        "at": getattr(batch, f"{batch.status}_at") is not None,
        "unknown": sorted(batch.model_extra or {}),
        "output": None if batch.output_file_id is None else [one["custom_id"] for one in output],
        "own": all(
            one["custom_id"] in one["response"]["body"]["choices"][0]["message"]["content"] for one in output
        ),
        "errors": None
        if batch.error_file_id is None
        else [
            [one["custom_id"], (one["response"] or {}).get("status_code"), (one["error"] or {}).get("code")]
            for one in errors
        ],
    }


def completed():
    batch = create([line(text) for text in [*texts("good", 20), *texts("poison", 2)]], metadata={"suite": "compat"})
    batch = end(batch)
    error = read(batch.error_file_id)[0]["response"]["body"]["error"]
    return {
        **story(batch),
        "usage": batch.to_dict()["usage"]["total_tokens"] > 0,
        "metadata": batch.metadata,
        "error": sorted(error) if error["message"] else None,
    }


def all_failed():
    return story(end(create([line(text) for text in texts("poison", 3)])))


def cancelled():
    batch = create([line(text) for text in [*texts("good", 3), *texts("held", 3)]])
    midway(batch, 3)
    said = client.batches.cancel(batch.id).status
    return {**story(end(batch)), "said": said in ("cancelling", "cancelled")}


def expired(window):
    batch = create([line(text) for text in [*texts("good", 3), *texts("held", 3)]], completion_window=window)
    ended = end(batch)
    return {**story(ended), "window": ended.completion_window, "seconds": ended.expired_at - ended.created_at}


def refused_upload():
    lines = [line("a says so"), line("b says so"), '{"custom_id": "c"\n', line("a says so")]
    return refused(lambda: upload(lines))


def failed():
    lines = [line("a says so"), line("b says so", "/v1/embeddings"), line("c says so", "/v1/completions")]
    batch = end(create(lines))
    return {**story(batch), "data": [[one.line, one.code, bool(one.message)] for one in batch.errors.data]}


def lists():
    made = [create([line(text)]).id for text in texts("page", 5)]
    everything = [batch.id for batch in client.batches.list(limit=2)]

    async def files():
        async with AsyncOpenAI(**settings) as other:
            return [file.id async for file in other.files.list(limit=3, purpose="batch")]

    listed = asyncio.run(files())
    first = client.batches.list(limit=1)
    return {
        "newest_first": [one for one in everything if one in made] == made[::-1],
        "twice": len(everything) - len(set(everything)) + len(listed) - len(set(listed)),
        "files": len(listed) >= 5,
        "next": first.has_next_page() and first.get_next_page().data[0].id != first.data[0].id,
        "models": [model.id for model in client.models.list()],
    }


def streamed():
    batch = end(create([line(text) for text in texts("stream", 300)]))
    with client.files.with_streaming_response.content(batch.output_file_id) as answer:
        ids = [json.loads(one)["custom_id"] for one in answer.iter_lines()]
    return {"ids": ids == [f"stream-{number}" for number in range(300)], "type": answer.headers["content-type"]}


def deleted():
    batch = create([line(text) for text in [*texts("good", 1), *texts("held", 1)]])
    midway(batch, 1)
    needed = refused(lambda: client.files.delete(batch.input_file_id))
    client.batches.cancel(batch.id)
    batch = end(batch)
    files = [batch.input_file_id, batch.output_file_id, batch.error_file_id]
    gone = [client.files.delete(file_id).deleted for file_id in files]
    return {
        "needed": needed,
        "gone": gone,
        "after": [refused(lambda file_id=file_id: client.files.content(file_id))["class"] for file_id in files],
        "batch": client.batches.retrieve(batch.id).status,
        "unknown": refused(lambda: client.batches.retrieve("batch_unknown")),
        "late": refused(lambda: client.batches.cancel(batch.id)),
    }


run(
    {
        "completed": completed,
        "all-failed": all_failed,
        "cancelled": cancelled,
        "expired": expired,
        "refused": refused_upload,
        "failed": failed,
        "lists": lists,
        "streamed": streamed,
        "deleted": deleted,
    }
)
