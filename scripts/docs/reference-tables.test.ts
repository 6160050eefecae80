import { ERROR_RULES, FAILURE_CODES, FAILURE_RULES, LIMITS } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';

/**
 * The reference pages that are tables of the code are made from the code. After a change:
 * `npx vitest run --project unit scripts/docs -u`.
 */

const NOTE =
  '<!-- Made from packages/contracts by scripts/docs/reference-tables.test.ts; do not edit by hand. -->';

const table = (head: string[], rows: string[][]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

const RETRY_WORDS = {
  final: 'no: the item ends',
  charged: 'yes, counts as an attempt',
  uncharged: 'yes, does not count',
} as const;

function figure(name: string, value: number | string): string {
  if (typeof value === 'string') return value;
  if (/bytes/i.test(name) && value >= 1024 * 1024) return `${(value / 1024 / 1024).toLocaleString('en')} MiB`;
  if (name.endsWith('Ms')) return value >= 60_000 ? `${value / 60_000} min` : `${value / 1_000} s`;
  return value.toLocaleString('en');
}

describe('the reference pages', () => {
  it('docs/limits.md says what the limits table says', async () => {
    const rows = Object.entries(LIMITS).map(([name, value]) => [`\`${name}\``, figure(name, value)]);
    const page = `# Limits\n\n${NOTE}\n\nEvery limit of the product. \`GET /v1/limits\` answers the same table.\n\n${table(['limit', 'value'], rows)}\n`;
    await expect(page).toMatchFileSnapshot('../../docs/limits.md');
  });

  it('docs/errors.md says what the error tables say', async () => {
    const api = Object.entries(ERROR_RULES).map(([code, rule]) => [
      `\`${code}\``,
      String(rule.status),
      `\`${rule.type}\``,
      rule.title,
      rule.retryable ? 'yes' : 'no',
    ]);
    const items = FAILURE_CODES.map((code) => {
      const rule = FAILURE_RULES[code];
      return [`\`${code}\``, `\`${rule.type}\``, RETRY_WORDS[rule.retry], rule.message];
    });
    const page = [
      '# Errors',
      NOTE,
      '## Answers of the HTTP API',
      "Every error is `application/problem+json` with OpenAI's `error` object beside it; `code` is one of these.",
      table(['code', 'status', 'type', 'title', 'worth a retry'], api),
      '## Failures of single items',
      'They stand in the error lines of a job. "Retry" says what the runner does by itself while the job runs.',
      table(['code', 'type', 'retry', 'default message'], items),
    ].join('\n\n');
    await expect(`${page}\n`).toMatchFileSnapshot('../../docs/errors.md');
  });
});
