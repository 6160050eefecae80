import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Answer } from './engine-access.ts';
import { wordFor } from './engine-access.ts';

interface RecordedAnswer {
  readonly name: string;
  readonly status: number;
  readonly body: string;
  readonly classifiedAs: string;
}

/** What a real vLLM said, kept so that the simulated engine and the classifier can be held to it. */
export class Recording {
  readonly #answers: RecordedAnswer[] = [];
  readonly #figures: Record<string, unknown> = {};
  #metrics = '';

  answer(name: string, answer: Answer): void {
    if (answer.reply.kind !== 'answer' || this.#answers.some((known) => known.name === name)) return;
    const { status, body } = answer;
    this.#answers.push({ name, status, body, classifiedAs: wordFor(answer) });
  }

  /** What was measured, for the tests of the step model. */
  figure(name: string, value: unknown): void {
    this.#figures[name] = value;
  }

  /** Only vLLM's own metrics, and of each histogram only the last bucket. */
  metrics(page: string): void {
    const kept = page.split('\n').filter((line) => {
      if (line.includes('_bucket{')) return line.startsWith('vllm:') && line.includes('le="+Inf"');
      return /^(# (HELP|TYPE) )?vllm:/.test(line);
    });
    this.#metrics = `${kept.join('\n')}\n`;
  }

  /** Into testkit, where the tests read it. */
  write(version: string): string {
    const folder = fileURLToPath(
      new URL(`../../packages/testkit/src/engine-sim/fixtures/vllm-${version}/`, import.meta.url),
    );
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}answers.json`, `${JSON.stringify(this.#answers, null, 2)}\n`);
    writeFileSync(`${folder}figures.json`, `${JSON.stringify(this.#figures, null, 2)}\n`);
    writeFileSync(`${folder}metrics.txt`, this.#metrics);
    return folder;
  }
}
