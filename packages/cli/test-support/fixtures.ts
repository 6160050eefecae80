import { tmpdir } from 'node:os';
import type { Job } from '@batch-infer/sdk';
import type { Io } from '../src/io.js';
import { safeTalk } from '../src/terminal/visible-text.js';
import { toWireJson } from '../src/terminal/wire-json.js';

/** A job that has just been submitted. */
export function job(changes: Partial<Job> = {}): Job {
  return {
    id: 'job_1',
    status: 'queued',
    phase: 'queued',
    paused: false,
    endpoint: '/v1/chat/completions',
    models: ['m'],
    priority: 'normal',
    counts: { total: 10, queued: 10, running: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 0 },
    reusedItems: 0,
    progress: { itemsPerSecond: 0, outputTokensPerSecond: 0, etaSeconds: null },
    queue: { position: null, waitingFor: [] },
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 },
    errors: [],
    inputErrors: [],
    inputFileId: null,
    outputFileId: null,
    errorFileId: null,
    createdAt: new Date('2026-01-01T00:00:00Z'),
    startedAt: null,
    finishedAt: null,
    expiresAt: new Date('2026-01-02T00:00:00Z'),
    completionWindow: '24h',
    metadata: {},
    webhook: null,
    ...changes,
  };
}

/** The same on the wire. */
export const wireJob = (changes: Partial<Job> = {}): Record<string, unknown> =>
  toWireJson({ object: 'job', ...job(changes) }) as Record<string, unknown>;

export interface MemoryIo extends Io {
  out(): string;
  error(): string;
}

/** Input and output in memory, with an environment of its own. */
export function memoryIo(
  environment: Record<string, string> = {},
  workingDirectory: string = tmpdir(),
): MemoryIo {
  const written: string[] = [];
  const said: string[] = [];
  return {
    writeOut: async (text) => {
      written.push(typeof text === 'string' ? text : Buffer.from(text).toString());
    },
    outputIdentity: () => null,
    writeError: (text) => {
      said.push(safeTalk(text, environment));
    },
    writeWorkflowCommand: (line) => {
      said.push(`${line}\n`);
    },
    environment: { XDG_CONFIG_HOME: '/nonexistent', ...environment },
    workingDirectory,
    isTerminal: false,
    entry: '/nonexistent/batch-infer.js',
    out: () => written.join(''),
    error: () => said.join(''),
  };
}
