import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { endWindow, HELD, POISON, runPython } from './python-programs.js';

/** The whole lives of batches, seen through PyPI's `openai` and `anthropic`, unmodified. */

const stack = new ProofStack();

beforeAll(async () => {
  await stack.serve();
  await stack.runner(await stack.engine({ serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 60_000);

afterAll(() => stack.close());

const ids = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word}-${index}`);

/** All at once: the windows of OpenAI batches end while the other lives go on. */
describe.concurrent.each([
  ['openai 3 and anthropic 2', 'requirements-sdks.txt', []],
  ['openai 2 and anthropic 1', 'requirements-sdks-before.txt', []],
  ['openai 1 and anthropic 0', 'requirements-sdks-oldest.txt', ['model', 'usage']],
])('%s, unmodified', (_, requirements, newer) => {
  let bin: string;

  beforeAll(async () => {
    bin = await pythonClients(requirements);
  }, 700_000);

  describe('openai', () => {
    const live = (...scenario: string[]) =>
      runPython({
        bin,
        program: 'openai_life.py',
        words: [`${stack.url}/v1`, ...scenario],
        environment: { OPENAI_API_KEY: 'none' },
      });

    it('expires at the end of its window, keeps what is finished and names the rest', async () => {
      expect(await live('expired', '1m')).toEqual({
        status: 'expired',
        at: true,
        unknown: newer,
        counts: { total: 6, completed: 3, failed: 0 },
        output: ids('good', 3),
        own: true,
        errors: ids('held', 3).map((id) => [id, null, 'batch_expired']),
        window: '1m',
        seconds: expect.toSatisfy((seconds: number) => seconds >= 60),
      });
    });

    it('completes with failed items: answers in the output file, the others in the error file', async () => {
      expect(await live('completed')).toEqual({
        status: 'completed',
        at: true,
        unknown: newer,
        counts: { total: 22, completed: 20, failed: 2 },
        output: ids('good', 20),
        own: true,
        errors: ids('poison', 2).map((id) => [id, 400, null]),
        error: ['code', 'message', 'param', 'type'],
        usage: true,
        metadata: { suite: 'compat' },
      });
    });

    it('completes without an output file when every item failed', async () => {
      expect(await live('all-failed')).toMatchObject({
        status: 'completed',
        counts: { total: 3, completed: 0, failed: 3 },
        output: null,
        errors: ids('poison', 3).map((id) => [id, 400, null]),
      });
    });

    it('is cancelled midway, keeps what is finished and names the rest', async () => {
      expect(await live('cancelled')).toMatchObject({
        said: true,
        status: 'cancelled',
        at: true,
        counts: { total: 6, completed: 3, failed: 0 },
        output: ids('good', 3),
        own: true,
        errors: ids('held', 3).map((id) => [id, null, 'batch_cancelled']),
      });
    });

    it('is refused at upload with the lines that are bad, as the exception for bad requests', async () => {
      expect(await live('refused')).toMatchObject({
        class: 'BadRequestError',
        status: 400,
        message: expect.stringContaining('Line 3 is not valid JSON'),
        answer: {
          code: 'invalid_file',
          errors: [
            { line: 3, code: 'invalid_json' },
            { line: 4, param: 'custom_id', code: 'duplicate_custom_id' },
          ],
        },
      });
    });

    it('fails with an error for each line that does not fit its endpoint', async () => {
      expect(await live('failed')).toMatchObject({
        status: 'failed',
        at: true,
        output: null,
        errors: null,
        data: [
          [2, 'mismatched_url', true],
          [3, 'mismatched_url', true],
        ],
      });
    });

    it('lists batches, files and models by iteration, each once', async () => {
      expect(await live('lists')).toEqual({
        newest_first: true,
        twice: 0,
        files: true,
        next: true,
        models: [MODEL],
      });
    });

    it('streams results line by line, in the order of the input', async () => {
      expect(await live('streamed')).toEqual({ ids: true, type: 'application/octet-stream' });
    });

    it('deletes files once no job needs them, and says what is not there', async () => {
      expect(await live('deleted')).toEqual({
        needed: expect.objectContaining({ class: 'ConflictError', status: 409 }),
        gone: [true, true, true],
        after: ['NotFoundError', 'NotFoundError', 'NotFoundError'],
        batch: 'cancelled',
        unknown: expect.objectContaining({ class: 'NotFoundError', status: 404 }),
        late: null,
      });
    });
  });

  describe('anthropic', () => {
    const live = (scenario: string, ...words: string[]) =>
      runPython({ bin, program: 'anthropic_life.py', words: [stack.url, scenario, ...words] });
    const counts = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 };
    const results = (end: string, word: string, count: number) => ids(word, count).map((id) => [id, end]);
    const ended = { steady: true, at: true, cancelled: false, own: true, errors: [], messages: true };

    it.each([
      ['messages.batches', 'completed', 20, 2],
      ['beta.messages.batches', 'beta', 2, 1],
    ] as const)('%s ends with answers and errors', async (__, scenario, succeeded, errored) => {
      expect(await live(scenario)).toEqual({
        ...ended,
        counts: { ...counts, succeeded, errored },
        results: [...results('succeeded', 'good', succeeded), ...results('errored', 'poison', errored)],
        errors: ['invalid_request_error'],
      });
    });

    it('ends when every request is errored', async () => {
      expect(await live('all-errored')).toEqual({
        ...ended,
        counts: { ...counts, errored: 3 },
        results: results('errored', 'poison', 3),
        errors: ['invalid_request_error'],
      });
    });

    it('is canceled midway and keeps what is finished', async () => {
      expect(await live('canceled')).toEqual({
        ...ended,
        said: true,
        cancelled: true,
        counts: { ...counts, succeeded: 3, canceled: 3 },
        results: [...results('succeeded', 'good', 3), ...results('canceled', 'held', 3)],
      });
    });

    it('expires at the end of its window and keeps what is finished', async () => {
      const id = String(await live('begun'));
      endWindow(stack, id.replace('msgbatch_', 'job_'));
      expect(await live('ended', id)).toEqual({
        ...ended,
        counts: { ...counts, succeeded: 3, expired: 3 },
        results: [...results('succeeded', 'good', 3), ...results('expired', 'held', 3)],
      });
    });

    it('is refused at create with the request that is bad, as the exception for bad requests', async () => {
      const refusal = (message: string) =>
        expect.objectContaining({
          class: 'BadRequestError',
          status: 400,
          message: expect.stringContaining(message),
        });
      expect(await live('refused')).toEqual({
        twice: refusal('requests.2.custom_id'),
        custom_id: refusal('requests.1.custom_id'),
        none: refusal('at least one request'),
        unknown: expect.objectContaining({ class: 'NotFoundError', status: 404 }),
      });
    });

    it('lists batches and models by iteration, each once, forwards and backwards', async () => {
      expect(await live('lists')).toEqual({
        newest_first: true,
        twice: 0,
        async: true,
        back: true,
        models: [MODEL],
      });
    });

    it('streams results line by line, and has none before the end', async () => {
      expect(await live('streamed')).toEqual({
        ids: true,
        early: expect.objectContaining({ class: 'AnthropicError' }),
      });
    });

    it('is deleted with its results, once it has ended', async () => {
      expect(await live('deleted')).toEqual({
        running: expect.objectContaining({ class: 'ConflictError', status: 409 }),
        early: expect.objectContaining({ class: 'AnthropicError' }),
        type: 'message_batch_deleted',
        after: ['NotFoundError', 'NotFoundError'],
      });
    });
  });
});
