import { expect, it } from 'vitest';
import type { CommandDefinition } from './command.js';
import { EXIT_CODE_HELP } from './exit-codes.js';
import { COMMANDS } from './registry.js';
import { configKey, environmentName, type OptionSpec } from './settings/options.js';
import { UNTRUSTED_FLAGS } from './settings/project-file.js';

/** After a change of a command: `npx vitest run --project unit packages/cli/src/reference-page -u`. */
it('docs/cli.md says what --help says', async () => {
  const definitions = await Promise.all(
    Object.values(COMMANDS).map(async ({ load }) => (await load()).command),
  );
  const summaries = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `| [\`${name}\`](#${name}) | ${cell(summary)} |`,
  );
  const page = [
    '# Command line',
    '<!-- Made from the commands by packages/cli/src/reference-page.test.ts; do not edit by hand. -->',
    INTRODUCTION,
    ['| command | what it does |', '| --- | --- |', ...summaries].join('\n'),
    `\`\`\`\n${EXIT_CODE_HELP}\n\`\`\``,
    ...definitions.map(toSection),
  ].join('\n\n');
  await expect(`${page}\n`).toMatchFileSnapshot('../../../docs/cli.md');
});

const INTRODUCTION = `\`batch-infer COMMAND --help\` prints what stands here. Data goes to stdout, talk to stderr.

Every flag can also be given by a variable (\`--base-url\`: \`BATCH_INFER_BASE_URL\`), by a key of \`.batchinferrc.json\` in the working directory (\`baseUrl\`), or by the same key of \`~/.config/batch-infer/config.json\`. Flags win over variables, those over the project's file, that over the user's; \`batch-infer config show --sources\` says which one did. Until \`batch-infer trust\` was run in its folder, the project's file sets only what a job is and what counts as success (${[...UNTRUSTED_FLAGS].map((flag) => `\`${configKey(flag)}\``).join(', ')}); a command that would take anything else from it is refused, because such settings say where keys and prompts go, what is run, and which files are read and written. Flags of several values take them repeated, variables and keys separated by commas.`;

function toSection(definition: CommandDefinition): string {
  const { name, operands = [], description, options, examples = [] } = definition;
  const usage = ['batch-infer', name, ...operands.map((operand) => operand.name), '[options]'].join(' ');
  const parts = [`## ${name}`, description, `\`\`\`\n${usage}\n\`\`\``];
  if (operands.length > 0) {
    parts.push(operands.map((operand) => `- \`${operand.name}\`: ${operand.description}`).join('\n'));
  }
  if (options.length > 0) {
    parts.push(
      ['| flag | variable | what it does |', '| --- | --- | --- |', ...options.map(toRow)].join('\n'),
    );
  }
  if (examples.length > 0) parts.push(`\`\`\`sh\n${examples.join('\n')}\n\`\`\``);
  return parts.join('\n\n');
}

function toRow(option: OptionSpec): string {
  const short = option.short === undefined ? '' : `-${option.short}, `;
  const value = option.value === undefined ? '' : ` ${option.value}`;
  const standard = option.default === undefined ? '' : ` (default: ${option.default})`;
  const flag = cell(`${short}--${option.flag}${value}`);
  return `| \`${flag}\` | \`${environmentName(option.flag)}\` | ${cell(`${option.description}${standard}`)} |`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');
