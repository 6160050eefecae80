// Sorts product reviews with the SDK: submit, watch the progress, read the results as they come.
// Node 22.18 or newer runs it as it is:
//
//   npx batch-infer up --engine-url http://127.0.0.1:8000     (in another terminal)
//   node examples/sdk-script.ts
//
// Settings: BATCH_INFER_BASE_URL (http://127.0.0.1:8080), BATCH_INFER_API_KEY (none), BATCH_INFER_MODEL (smollm2-135m).
import { BatchInfer, JobFailedError, WaitTimeoutError } from '@batch-infer/sdk';

const model = process.env.BATCH_INFER_MODEL ?? 'smollm2-135m';

const reviews = [
  'The soup was warm and rich, and everybody was kind to us.',
  'The zip broke on the first day and nobody answered my letters.',
  'A quiet room, a soft bed and a splendid breakfast.',
  'The film was two hours too long and the sound was terrible.',
];

function classify(review: string) {
  const question = `Classify the sentiment of this review as positive or negative.\nReview: ${review}\nAnswer with one word.`;
  return { messages: [{ role: 'user', content: question }], max_tokens: 8, temperature: 0 };
}

const client = new BatchInfer();

try {
  const job = await client.jobs.submit({
    model,
    endpoint: '/v1/chat/completions',
    items: reviews.map((review, index) => ({ custom_id: `review-${index + 1}`, body: classify(review) })),
    metadata: { example: 'sdk-script' },
  });
  console.error(`submitted ${job.id}`);

  await job.wait({
    timeoutMs: 5 * 60_000,
    onProgress: ({ completed, total, itemsPerSecond }) => {
      console.error(`${completed}/${total} · ${itemsPerSecond.toFixed(1)} items/s`);
    },
  });

  for await (const result of job.results({ order: 'input' })) {
    // A failed item is a value, not an exception: the rest of the job is not lost with it.
    const answer = result.ok ? textOf(result.response) : `failed: ${result.error.code}`;
    console.log(`${answer.trim().padEnd(10)} ${reviews[result.index]}`);
  }
} catch (error) {
  if (error instanceof WaitTimeoutError)
    console.error('still running: `npx batch-infer watch` goes on waiting');
  else if (error instanceof JobFailedError) console.error(error.message);
  else throw error;
  process.exitCode = 1;
}

function textOf(response: unknown): string {
  const body = response as { choices?: { message?: { content?: string } }[] };
  return body.choices?.[0]?.message?.content ?? '';
}
