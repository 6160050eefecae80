import type { InputProblem } from '@batch-infer/sdk';
import { EXIT } from '../exit-codes.js';
import { placed } from '../terminal/describe-job.js';
import { plural } from '../terminal/format.js';
import { annotateProblems } from '../terminal/github.js';
import type { Talk } from '../terminal/talk.js';
import { visible } from '../terminal/visible-text.js';

/** Says what is wrong with an input, line by line, and resolves to the exit code. */
export async function reportRefusedInput(
  talk: Talk,
  file: string,
  problems: readonly InputProblem[],
  count: number,
): Promise<number> {
  const more = count > problems.length ? `, the first ${problems.length} of them here` : '';
  const lines = problems.map(({ line, message }) => `  ${visible(placed(line, message))}`);
  talk.warn(
    [`error: ${file} has ${plural(count, 'fault')}${more}; nothing was submitted`, ...lines].join('\n'),
  );
  talk.say(`next: correct the lines, then \`batch-infer validate ${file}\` checks them offline`);
  await talk.event('invalid_input', { file, error_count: count, errors: problems });
  annotateProblems(talk.io, file, problems);
  return EXIT.usage;
}
