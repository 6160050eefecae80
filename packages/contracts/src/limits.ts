/** Every limit of the product, in one table: used in validation, help texts, `GET /v1/limits` and the docs. */
export const LIMITS = {
  /** Bytes of one JSONL line, without its line break. */
  lineBytes: 16 * 1024 * 1024,
  /** Nesting depth of one JSONL line. */
  lineDepth: 128,
  /** Lines of one input file. */
  fileItems: 5_000_000,
  /** Bytes of one input file. */
  fileBytes: 8 * 1024 * 1024 * 1024,
  /** Items of one inline job. */
  inlineItems: 10_000,
  /** Bytes of one JSON request body (inline jobs among them). */
  jsonBodyBytes: 16 * 1024 * 1024,
  /** Values of one JSON request body or of one line, and keys of all its objects: more goes as a file, line by line. */
  jsonValues: 500_000,
  jsonMembers: 200_000,
  /** Keys of one object. */
  jsonObjectMembers: 10_000,
  /** Requests and bytes of one Anthropic message batch, which is one JSON body (Anthropic's figures). */
  messageBatchItems: 100_000,
  messageBatchBytes: 256 * 1024 * 1024,
  /** Page size of lists of message batches. */
  messageBatchListMax: 1_000,
  /** Bytes of one part of an upload, and how long an upload may stay incomplete (OpenAI's figures). */
  uploadPartBytes: 64 * 1024 * 1024,
  /** Parts of one upload. */
  uploadParts: 10_000,
  uploadTtlMs: 3_600_000,
  /** Characters of a `custom_id`. */
  customIdChars: 512,
  /** Characters of an id that a client names. */
  idChars: 256,
  /** Characters of a duration such as `"24h"`. */
  durationChars: 32,
  /** Keys, values in all and bytes as JSON of a job's `defaults`: they go along with each of its requests. */
  defaultsKeys: 1_000,
  defaultsValues: 20_000,
  defaultsBytes: 1024 * 1024,
  /** Characters of a model name. */
  modelChars: 256,
  /** Distinct models in one file. */
  fileModels: 1_000,
  /** Models that one runner may say it serves, and characters of each name. */
  servedModels: 1_000,
  servedModelChars: 1_024,
  /** Bytes of an uploaded file's name. */
  filenameBytes: 512,
  /** Characters of a MIME type. */
  mimeTypeChars: 256,
  /** `expires_after` of files, in seconds (OpenAI's figures: an hour to 30 days). */
  fileExpiryMinSeconds: 3_600,
  fileExpiryMaxSeconds: 2_592_000,
  /** Pairs in `metadata`, characters of a key, characters of a value (OpenAI's figures). */
  metadataPairs: 16,
  metadataKeyChars: 64,
  metadataValueChars: 512,
  /** Visible characters of an `Idempotency-Key`. */
  idempotencyKeyChars: 255,
  /** How long an idempotency key is remembered. */
  idempotencyTtlMs: 7 * 24 * 3_600_000,
  /** How long an unmodified SDK's retry finds the first job by its content. */
  implicitRetryWindowMs: 10 * 60_000,
  /** Line errors reported at once, and bad lines after which the rest of an input is not judged any more. */
  reportedErrors: 100,
  countedErrors: 10_000,
  /** Items of one shard: the width of a mask. */
  shardItems: 256,
  /** Bytes of one shard's lines; a shard of one longer line is allowed. */
  shardBytes: 8 * 1024 * 1024,
  /** Bytes of one segment of several lines: a runner with more to settle sends several segments. */
  segmentBytes: 32 * 1024 * 1024,
  /**
   * Bytes of one answer, as one line of JSON. OpenAI lets one embeddings request ask for 2,048 inputs of 3,072
   * dimensions: about 140 MB as engines write them.
   */
  answerBytes: 192 * 1024 * 1024,
  /** Nesting depth of one answer: what is written again on its way is walked by recursion. */
  answerDepth: 1_000,
  /** Tokens that one answer may count: a larger number is taken for none. */
  answerTokens: 1_000_000_000,
  /** Completion window, in milliseconds. */
  completionWindowMinMs: 60_000,
  completionWindowMaxMs: 30 * 24 * 3_600_000,
  completionWindowDefault: '24h',
  /** Time for one attempt at one item. */
  itemTimeoutMinMs: 1_000,
  itemTimeoutMaxMs: 24 * 3_600_000,
  itemTimeoutDefaultMs: 600_000,
  /** Charged attempts of one item. */
  maxAttemptsDefault: 3,
  maxAttemptsMax: 10,
  /**
   * How long a plain request (`/v1/chat/completions` and the like) waits for its answer, and at most by its own wish.
   * Official SDKs give up after 600 seconds; a retry must find the job within `implicitRetryWindowMs`.
   */
  syncWaitMs: 590_000,
  syncWaitMaxMs: 3_600_000,
  /** Long poll of `GET /v1/jobs/{id}?wait=`, in seconds. */
  waitMaxSeconds: 60,
  /** Page size of native and OpenAI lists. */
  listDefault: 20,
  listMax: 100,
  /** Page size of OpenAI's list of files, also without a limit, as upstream. */
  fileListMax: 10_000,
  /** Length of a lease, and how often a runner renews. */
  leaseMs: 30_000,
  /** Leases a shard may lose before it is bisected, and a single item before it fails. */
  lostLeasesBeforeBisection: 2,
  lostLeasesBeforeFailure: 3,
  /** Characters of the name of a project or an API key. */
  accessNameChars: 128,
  /** Characters of a webhook's URL and secret. */
  webhookUrlChars: 2_048,
  webhookSecretChars: 256,
  /** Webhook endpoints of a project. */
  webhookEndpoints: 100,
  /** How long the delivery log is kept. */
  webhookLogMs: 30 * 24 * 3_600_000,
  /** Share of a project beside the others. */
  projectWeightMin: 0.01,
  projectWeightMax: 100,
  /** Longest life of an API key that expires; how long an old key may go on beside its successor. */
  apiKeyLifeMaxMs: 3_650 * 24 * 3_600_000,
  apiKeyOverlapMaxMs: 30 * 24 * 3_600_000,
  /** How old an answer may be that `reuse: "project"` takes over, in seconds. */
  reuseMaxAgeMinSeconds: 60,
  reuseMaxAgeMaxSeconds: 2_592_000,
  reuseMaxAgeDefaultSeconds: 86_400,
  /** Earlier jobs, and requests of them, that are looked through for a job's answers: the newest. */
  reuseSearchJobs: 1_000,
  reuseSearchItems: 10_000_000,
  /** Event streams of one project that a control plane with API keys keeps open at a time. */
  projectStreams: 256,
  /** What one runner may report: engines, leases. */
  runnerEngines: 256,
  runnerLeases: 4_096,
  /** Bytes of one runner's report as JSON, and of the reports of all runners that serve one project alone. */
  runnerReportBytes: 256 * 1024,
  projectReportBytes: 4 * 1024 * 1024,
  /** Characters of a runner's id and version, and of why an engine takes no work. */
  runnerNameChars: 256,
  engineProblemChars: 4_096,
  /** Longest retry hint that real SDKs obey. */
  retryAfterMaxSeconds: 60,
} as const;

/** `"24h"`, `"90m"`, `"7d"`, `"3600s"` in milliseconds; `null` when it is not a duration. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d{1,9})\s*(ms|s|m|h|d)$/.exec(text);
  if (!match) return null;
  const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[
    match[2] as 'ms' | 's' | 'm' | 'h' | 'd'
  ];
  return Number(match[1]) * unitMs;
}
