#!/usr/bin/env bash
# The native API with curl alone: submit, wait, read results, idempotency, errors, cancel.
# Start a server first, in another terminal, for example:
#
#   npx batch-infer up --engine-url http://127.0.0.1:8000
#
# Settings: BATCH_INFER_BASE_URL (http://127.0.0.1:8080), BATCH_INFER_API_KEY (none), BATCH_INFER_MODEL (smollm2-135m).
# `node -p` picks values out of JSON; jq would do as well.
set -euo pipefail

base_url="${BATCH_INFER_BASE_URL:-http://127.0.0.1:8080}"
base_url="${base_url%/}"
base_url="${base_url%/v1}"
model="${BATCH_INFER_MODEL:-smollm2-135m}"
curl_options=(--silent --show-error --max-time 90)
if [[ -n "${BATCH_INFER_API_KEY:-}" ]]; then
  curl_options+=(--header "Authorization: Bearer $BATCH_INFER_API_KEY")
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*" >&2; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
# field EXPRESSION < JSON: prints a value of the document, called `body` in the expression.
field() { node -p "const body = JSON.parse(require('node:fs').readFileSync(0, 'utf8')); $1"; }
api() { curl "${curl_options[@]}" "$@"; }
# One request that is meant to answer with a given status; the body is printed.
expect_status() {
  local wanted="$1" status
  shift
  status="$(api --output "$work/answer.json" --write-out '%{http_code}' "$@")"
  [[ "$status" == "$wanted" ]] || fail "expected HTTP $wanted, got $status: $(cat "$work/answer.json")"
  cat "$work/answer.json"
}
# Long-polls until the job has ended and prints its status. The server answers early when the status changes.
wait_for_end() {
  local job_id="$1" status
  for _ in $(seq 1 20); do
    status="$(api --fail-with-body "$base_url/v1/jobs/$job_id?wait=30" | field body.status)"
    printf '   status: %s\n' "$status" >&2
    case "$status" in succeeded | failed | cancelled | expired) echo "$status"; return ;; esac
  done
  fail "job $job_id did not end in ten minutes"
}

step "1. Is the server ready?"
api --fail-with-body "$base_url/readyz" >&2 || fail "no server answers at $base_url: start one with \`npx batch-infer up\`"

step "2. Submit a JSONL body: one request a line, the options in the query string"
question='What is the capital of'
shot='{"role":"user","content":"What is the capital of Malta?"},{"role":"assistant","content":"The capital of Malta is Valletta."}'
for country in France Italy Norway Japan; do
  printf '{"custom_id":"%s","body":{"messages":[%s,{"role":"user","content":"%s %s?"}],"max_tokens":32,"temperature":0}}\n' \
    "$country" "$shot" "$question" "$country"
done >"$work/input.jsonl"
submit_url="$base_url/v1/jobs?model=$model&endpoint=/v1/chat/completions"
# The key makes the request safe to repeat. Any unique text does.
key="walkthrough-$(node -p 'crypto.randomUUID()')"
submit=(--header 'Content-Type: application/x-ndjson' --header "Idempotency-Key: $key" --data-binary "@$work/input.jsonl")
job_id="$(expect_status 202 "${submit[@]}" "$submit_url" | field body.id)"
echo "   job: $job_id" >&2

step "3. Submit it again with the same key: the same job, no second run"
api --fail-with-body --dump-header "$work/headers" --output "$work/answer.json" "${submit[@]}" "$submit_url"
[[ "$(field body.id <"$work/answer.json")" == "$job_id" ]] || fail 'a repeated key made a second job'
grep -i '^idempotent-replayed:' "$work/headers" >&2 || fail 'the Idempotent-Replayed header is missing'

step "4. The same key with another body is refused"
expect_status 422 --header 'Content-Type: application/x-ndjson' --header "Idempotency-Key: $key" \
  --data-binary '{"custom_id":"other","body":{"messages":[{"role":"user","content":"Hello"}]}}' "$submit_url" | field body.detail >&2

step "5. Wait for the end"
status="$(wait_for_end "$job_id")"
[[ "$status" == succeeded ]] || fail "the job ended as $status: $(api "$base_url/v1/jobs/$job_id/errors")"
api "$base_url/v1/jobs/$job_id" | field 'JSON.stringify({ counts: body.counts, usage: body.usage })' >&2

step "6. Stream the results, one line an item, in input order"
api --fail-with-body --no-buffer "$base_url/v1/jobs/$job_id/results?order=input" | tee "$work/results.jsonl"
[[ "$(grep -c '"status":"succeeded"' "$work/results.jsonl")" == 4 ]] || fail 'expected four succeeded lines'
echo "   ... and only those after index 1:" >&2
api --fail-with-body "$base_url/v1/jobs/$job_id/results?order=input&after=1" >"$work/rest.jsonl"
[[ "$(wc -l <"$work/rest.jsonl")" -eq 2 ]] || fail 'expected two lines after index 1'

step "7. One input is a job like any other"
single="{\"model\":\"$model\",\"endpoint\":\"/v1/chat/completions\",\"input\":{\"messages\":[$shot,{\"role\":\"user\",\"content\":\"$question Spain?\"}],\"max_tokens\":32}}"
single_id="$(expect_status 202 --json "$single" "$base_url/v1/jobs" | field body.id)"
wait_for_end "$single_id" >/dev/null
api --fail-with-body "$base_url/v1/jobs/$single_id/results" | field 'body.response.choices[0].message.content' >&2

step "8. Errors say what, where and why"
expect_status 404 "$base_url/v1/jobs/job_00000000-0000-7000-8000-000000000000" | field 'JSON.stringify({ code: body.code, detail: body.detail })' >&2
expect_status 400 --json '{"endpoint":"/v1/chat/completions","items":[]}' "$base_url/v1/jobs" |
  field 'JSON.stringify({ code: body.code, errors: body.errors })' >&2

step "9. Cancel: what has finished stays, nothing else starts"
for number in $(seq 1 200); do
  printf '{"custom_id":"story-%d","body":{"messages":[{"role":"user","content":"Tell me story number %d."}],"max_tokens":200}}\n' \
    "$number" "$number"
done >"$work/long.jsonl"
long_id="$(expect_status 202 --header 'Content-Type: application/x-ndjson' --data-binary "@$work/long.jsonl" "$submit_url" | field body.id)"
api --fail-with-body --request POST "$base_url/v1/jobs/$long_id/cancel" >/dev/null
status="$(wait_for_end "$long_id")"
[[ "$status" == cancelled ]] || fail "the cancelled job ended as $status"
api --fail-with-body "$base_url/v1/jobs/$long_id" | field 'JSON.stringify(body.counts)' >&2
[[ "$(api --fail-with-body "$base_url/v1/jobs/$long_id/results" | wc -l)" -eq 200 ]] || fail 'every item must have one line'

step "Done. The list of jobs: curl $base_url/v1/jobs?limit=3"
api --fail-with-body "$base_url/v1/jobs?limit=3" | field 'body.data.map((job) => `   ${job.id} ${job.status}`).join("\n")' >&2
