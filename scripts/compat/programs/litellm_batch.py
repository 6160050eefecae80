"""A batch through LiteLLM's proxy, which passes it on to us; prints what came back as one line of JSON."""

import io
import json
import sys
import time

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])
provider = {"custom_llm_provider": "openai"}


def line(number):
    message = {"role": "user", "content": f"lite-{number} says so"}
    body = {"model": "sim-model", "messages": [message]}
    request = {"custom_id": f"lite-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request) + "\n"


text = "".join(line(number) for number in range(10))
file = client.files.create(file=("in.jsonl", io.BytesIO(text.encode())), purpose="batch", extra_body=provider)
batch = client.batches.create(
    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", extra_body=provider
)
deadline = time.monotonic() + 60
while batch.status != "completed" and time.monotonic() < deadline:
    batch = client.batches.retrieve(batch.id, extra_query=provider)
    time.sleep(0.1)
output = client.files.content(batch.output_file_id, extra_query=provider).text
print(json.dumps({"status": batch.status, "ids": [json.loads(one)["custom_id"] for one in output.splitlines()]}))
