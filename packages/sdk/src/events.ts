import type { Job as WireJob } from '@batch-infer/contracts/native';
import { delay } from './delay.js';
import { ConnectionError } from './errors.js';
import { type HttpClient, type StreamAnswer, translateFailure } from './http/http-client.js';
import { jitteredDelayMs } from './http/retry.js';
import { toJob } from './mapping.js';
import { readLines } from './ndjson.js';
import type { Job } from './types.js';

/** What happened to a job, with the job as it was then. */
export interface JobEvent {
  /** `status`: it is something else than before; `progress`: its counts or its rate; `finished`: the last event. */
  readonly type: 'status' | 'progress' | 'finished';
  /** Pass it as `lastEventId` to go on behind this event. */
  readonly id: string;
  readonly job: Job;
}

export interface EventsOptions {
  /** Go on behind this event. */
  readonly lastEventId?: string;
  /** Stops the reading, never the job. */
  readonly signal?: AbortSignal | undefined;
  /** Streams in a row that broke without an event, before it is given up. Default: the client's retries. */
  readonly maxRetries?: number;
}

/** The server shows a sign of life every 15 seconds: a stream quieter than that is broken. */
const QUIET_MS = 45_000;

/** A job's events until its end. A stream that breaks is opened again behind the last event. */
export async function* streamEvents(
  http: HttpClient,
  jobId: string,
  options: EventsOptions,
): AsyncGenerator<JobEvent, void, undefined> {
  const { signal, maxRetries = http.maxRetries } = options;
  let { lastEventId } = options;
  for (let broken = 0; ; ) {
    const before = lastEventId;
    try {
      const answer = await open(http, jobId, lastEventId, { signal, maxRetries });
      // 204: the event before was the last one.
      if (answer === null) return;
      for await (const event of parsedEvents(answer, { signal, baseUrl: http.baseUrl })) {
        lastEventId = event.id;
        yield event;
        if (event.type === 'finished') return;
      }
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      broken = lastEventId === before ? broken + 1 : 1;
      if (broken > maxRetries || !http.budget.take()) throw error;
      await delay(jitteredDelayMs(broken, Math.random), signal);
      continue;
    }
    // The server ended the stream before the job: it is being restarted.
    broken = 0;
    await delay(jitteredDelayMs(1, Math.random), signal);
  }
}

async function open(
  http: HttpClient,
  jobId: string,
  lastEventId: string | undefined,
  options: { signal: AbortSignal | undefined; maxRetries: number },
): Promise<StreamAnswer | null> {
  const answer = await http.stream({
    method: 'GET',
    path: `/v1/jobs/${encodeURIComponent(jobId)}/events`,
    query: { last_event_id: lastEventId },
    options: { ...options, timeoutMs: QUIET_MS },
  });
  if (answer.headers.get('content-type')?.startsWith('text/event-stream')) return answer;
  answer.watchdog.stop();
  await answer.body.cancel();
  return null;
}

const TYPES: ReadonlySet<string> = new Set(['status', 'progress', 'finished'] satisfies JobEvent['type'][]);
const isType = (name: string): name is JobEvent['type'] => TYPES.has(name);

/** Our server writes the data of an event in one line, and as its last. */
async function* parsedEvents(
  answer: StreamAnswer,
  context: { signal: AbortSignal | undefined; baseUrl: string },
): AsyncGenerator<JobEvent, void, undefined> {
  const lines = readLines(answer);
  let id = '';
  let name = '';
  try {
    for (;;) {
      const next = await lines.next().catch((error: unknown) => {
        throw translateFailure(error, { ...context, watchdog: answer.watchdog });
      });
      if (next.done) return;
      const [, field, value = ''] = /^([a-z]+): ?(.*)$/.exec(next.value) ?? [];
      if (field === 'id') id = value;
      else if (field === 'event') name = value;
      // Events of newer servers are left out.
      else if (field === 'data' && isType(name))
        yield { type: name, id, job: toJob(JSON.parse(value) as WireJob) };
    }
  } finally {
    await lines.return();
  }
}
