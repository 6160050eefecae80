"""One run of curator's batch mode: `curator_batch.py BACKEND BASE_URL MODEL FOLDER PROMPT…`; prints what it made of it."""

import json
import sys
from pathlib import Path

from bespokelabs import curator

backend, base_url, model, folder, *prompts = sys.argv[1:]
llm = curator.LLM(
    model_name=model,
    batch=True,
    backend=backend,
    generation_params={"max_tokens": 64},
    backend_params={
        "base_url": base_url,
        "batch_check_interval": 1,
        "max_retries": 1,
        "require_all_responses": False,
    },
)
try:
    answer = llm(prompts, working_dir=folder)
    seen = {"answers": answer.dataset["response"]}
except ValueError as error:
    seen = {"error": str(error)}
failed = [json.loads(line) for file in Path(folder).glob("*/failed_requests.jsonl") for line in file.open()]
print(json.dumps({**seen, "failed": [one["messages"][0]["content"] for one in failed]}))
