import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  expectedFile,
  formatScore,
  isCorrect,
  parseAccuracy,
  readJsonLines,
  scoreResults,
} from './score.mjs';

const exampleDirectory = path.dirname(fileURLToPath(import.meta.url));

type Question = Parameters<typeof isCorrect>[0];

const questions: Question[] = [
  { custom_id: 'capital-1', kind: 'capital', rule: 'contains', accept: ['Bogotá', 'Bogota'] },
  {
    custom_id: 'sentiment-1',
    kind: 'sentiment',
    rule: 'contains',
    accept: ['positive'],
    reject: ['negative'],
  },
  { custom_id: 'arithmetic-1', kind: 'arithmetic', rule: 'last_integer', accept: ['9'] },
];

function chatBody(content: string | null) {
  return {
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 40, completion_tokens: 6 },
  };
}

function nativeLine(customId: string, content: string | null) {
  return { index: 0, custom_id: customId, status: 'succeeded', response: chatBody(content), attempts: 1 };
}

function openAiLine(customId: string, content: string) {
  return {
    id: 'batch_req_1',
    custom_id: customId,
    response: { status_code: 200, request_id: 'request-1', body: chatBody(content) },
    error: null,
  };
}

describe('scoreResults', () => {
  it('counts right answers by kind and in total', () => {
    const score = scoreResults(questions, [
      nativeLine('arithmetic-1', '4 + 5 = 9'),
      nativeLine('capital-1', 'The capital of Colombia is Bogotá.'),
      nativeLine('sentiment-1', 'Negative'),
    ]);
    expect(score).toMatchObject({ total: 3, answered: 3, correct: 2, accuracy: 2 / 3, unanswered: [] });
    expect(score.byKind.capital).toEqual({ total: 1, answered: 1, correct: 1, accuracy: 1 });
    expect(score.byKind.sentiment).toEqual({ total: 1, answered: 1, correct: 0, accuracy: 0 });
    expect(score.usage).toEqual({ inputTokens: 120, outputTokens: 18 });
  });

  it("reads OpenAI's batch output lines exactly like native ones", () => {
    const native = scoreResults(questions, [nativeLine('capital-1', 'Bogota')]);
    expect(scoreResults(questions, [openAiLine('capital-1', 'Bogota')])).toEqual(native);
  });

  it('counts a failed, expired or missing line as unanswered and wrong', () => {
    const score = scoreResults(questions, [
      { index: 0, custom_id: 'capital-1', status: 'failed', error: { code: 'engine_error' }, attempts: 3 },
      {
        custom_id: 'sentiment-1',
        response: { status_code: 400, body: { error: { message: 'no' } } },
        error: null,
      },
    ]);
    expect(score).toMatchObject({ total: 3, answered: 0, correct: 0, accuracy: 0 });
    expect(score.unanswered).toEqual(['capital-1', 'sentiment-1', 'arithmetic-1']);
  });

  it('names answers that nobody asked for and answers given twice, and counts the first', () => {
    const score = scoreResults(questions, [
      nativeLine('capital-1', 'Bogota'),
      nativeLine('capital-1', 'Lima'),
      nativeLine('stranger', 'hello'),
    ]);
    expect(score.correct).toBe(1);
    expect(score.duplicated).toEqual(['capital-1']);
    expect(score.unexpected).toEqual(['stranger']);
    expect(formatScore(score)).toContain('answered twice: 1 (capital-1)');
  });

  it('takes an answer without text as a wrong answer', () => {
    expect(scoreResults(questions, [nativeLine('capital-1', null)])).toMatchObject({
      answered: 1,
      correct: 0,
    });
  });
});

describe('isCorrect', () => {
  const sum: Question = { custom_id: 'a', kind: 'arithmetic', rule: 'last_integer', accept: ['9'] };
  const mood: Question = {
    custom_id: 's',
    kind: 'sentiment',
    rule: 'contains',
    accept: ['positive'],
    reject: ['negative'],
  };

  it.each([
    ['4 + 5 = 9', true],
    ['The answer is 9.', true],
    ['4 + 5 = 19', false],
    ['9 - 4 = 5', false],
    ['It is 9.5', false],
    ['-9', false],
    ['nine', false],
  ])('judges the last integer of "%s" as %s', (answer, correct) => {
    expect(isCorrect(sum, answer)).toBe(correct);
  });

  it.each([
    ['Positive.', true],
    ['The sentiment is POSITIVE', true],
    ['neither positive nor negative', false],
    ['nonpositive', false],
    ['', false],
  ])('judges the words of "%s" as %s', (answer, correct) => {
    expect(isCorrect(mood, answer)).toBe(correct);
  });
});

describe('the committed data set', () => {
  it('asks at least 200 questions of three kinds, each with one expected answer', async () => {
    const lines = await readJsonLines(path.join(exampleDirectory, 'evaluation.jsonl'));
    const expected = await readJsonLines(expectedFile);
    const customIds = lines.map((line) => line.custom_id);
    expect(lines.length).toBeGreaterThanOrEqual(200);
    expect(new Set(customIds).size).toBe(lines.length);
    expect(expected.map((question) => question.custom_id)).toEqual(customIds);
    expect(new Set(expected.map((question) => question.kind))).toEqual(
      new Set(['capital', 'sentiment', 'arithmetic']),
    );
    expect(new Set(lines.map((line) => JSON.stringify(line.body))).size).toBe(lines.length);
  });
});

describe('score.mjs as a command', () => {
  let directory = '';

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'score-test-'));
    await writeFile(path.join(directory, 'expected.jsonl'), toJsonLines(questions));
    await writeFile(path.join(directory, 'results.jsonl'), toJsonLines([nativeLine('capital-1', 'Bogota')]));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('ends with 3 below the threshold and with 0 at it', async () => {
    expect(
      await runScore('results.jsonl', '--expected', 'expected.jsonl', '--min-accuracy', '0.5'),
    ).toMatchObject({ code: 3, stderr: expect.stringContaining('below the threshold of 0.5') });
    const passed = await runScore(
      'results.jsonl',
      '--expected',
      'expected.jsonl',
      '--min-accuracy',
      '0.3',
      '--json',
    );
    expect(passed.code).toBe(0);
    expect(JSON.parse(passed.stdout)).toMatchObject({ total: 3, correct: 1 });
  });

  it('ends with 2 and names the line when the input is no JSON Lines file', async () => {
    await writeFile(path.join(directory, 'broken.jsonl'), '{"custom_id":"a"}\n\nnot json\n');
    expect(await runScore('broken.jsonl')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('broken.jsonl line 3'),
    });
  });

  it.each(['1.5', '-1', 'high', ''])('refuses "%s" as a threshold', (text) => {
    expect(() => parseAccuracy(text)).toThrow('from 0 to 1');
  });

  function runScore(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      const script = path.join(exampleDirectory, 'score.mjs');
      execFile(process.execPath, [script, ...args], { cwd: directory }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }
});

function toJsonLines(records: object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}
