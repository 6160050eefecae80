"""The whole life of a batch with PyPI's openai, unmodified. Prints what it saw as one line of JSON."""

import io
import json
import sys
import time

from openai import NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="unused")


def lines(prefix, count):
    for index in range(count):
        message = {"role": "user", "content": f"{prefix}-{index} says so"}
        body = {"model": "sim-model", "messages": [message]}
        yield {"custom_id": f"{prefix}-{index}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(items):
    text = "".join(json.dumps(item) + "\n" for item in items)
    return client.files.create(file=("in.jsonl", io.BytesIO(text.encode())), purpose="batch")


def create(file):
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"suite": "python"},
    )


def wait(batch_id, accept):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        batch = client.batches.retrieve(batch_id)
        if accept(batch):
            return batch
        time.sleep(0.05)
    raise TimeoutError(f"{batch_id} is still {batch.status}")


def read(file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


items = list(lines("python", 40)) + list(lines("poison", 1))
file = upload(items)
assert file.status == "processed" and file.purpose == "batch"
assert client.files.retrieve(file.id).bytes == file.bytes
batch = wait(create(file).id, lambda now: now.status == "completed")
output, errors = read(batch.output_file_id), read(batch.error_file_id)
assert [line["custom_id"] for line in output + errors] == [item["custom_id"] for item in items]
assert all(line["response"]["status_code"] == 200 for line in output)
assert batch.usage.total_tokens > 0

slow = list(lines("python-quick", 20)) + list(lines("python-slow", 20))
other = create(upload(slow))
wait(other.id, lambda now: now.request_counts.completed == 20)
assert client.batches.cancel(other.id).status in ("cancelling", "cancelled")
cancelled = wait(other.id, lambda now: now.status == "cancelled")
not_run = read(cancelled.error_file_id)
assert all(line["error"]["code"] == "batch_cancelled" for line in not_run)

for _ in range(4):
    create(file)
batches = [listed.id for listed in client.batches.list(limit=2)]
files = [listed.id for listed in client.files.list(limit=2)]
paged_twice = len(batches) - len(set(batches)) + len(files) - len(set(files))
assert other.id in batches and file.id in files

deleted = client.files.delete(batch.output_file_id).deleted
try:
    client.files.retrieve(batch.output_file_id)
    deleted = False
except NotFoundError:
    pass

print(
    json.dumps(
        {
            "completed": batch.request_counts.completed,
            "failed": batch.request_counts.failed,
            "cancelled": cancelled.status,
            "cancelledLines": len(not_run),
            "pagedTwice": paged_twice,
            "deleted": deleted,
        }
    )
)
