import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { COMMANDS } from '../registry.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export const command: CommandDefinition = {
  name: 'completion',
  operands: [{ name: '<shell>', description: SHELLS.join(', ') }],
  description: 'Print a completion script.',
  options: [],
  examples: ['source <(batch-infer completion bash)', 'batch-infer completion fish | source'],
  run,
};

async function run({ operands, io }: CommandContext): Promise<number> {
  const shell = SHELLS.find((name) => name === operands[0]);
  if (shell === undefined)
    throw usageError(`There is no completion for "${operands[0]}"`, `one of ${SHELLS.join(', ')}`);
  const flags = new Map<string, string[]>();
  for (const [name, { load }] of Object.entries(COMMANDS)) {
    const { command: definition } = await load();
    flags.set(
      name,
      definition.options.map(({ flag }) => `--${flag}`),
    );
  }
  await io.writeOut(shell === 'fish' ? fishScript(flags) : bashScript(flags, shell));
  return EXIT.ok;
}

function bashScript(flags: ReadonlyMap<string, readonly string[]>, shell: 'bash' | 'zsh'): string {
  const cases = [...flags].map(([name, words]) => `    ${name}) words="${words.join(' ')}" ;;`);
  const head = shell === 'zsh' ? ['autoload -U +X bashcompinit && bashcompinit'] : [];
  return `${[
    ...head,
    '_batch_infer() {',
    '  local current="$' + '{COMP_WORDS[COMP_CWORD]}" words=""',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    words="${[...flags.keys()].join(' ')} --help --version"`,
    '  else',
    '    case "$' + '{COMP_WORDS[1]}" in',
    ...cases,
    '    esac',
    '  fi',
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '}',
    'complete -o default -F _batch_infer batch-infer',
  ].join('\n')}\n`;
}

function fishScript(flags: ReadonlyMap<string, readonly string[]>): string {
  const names = [...flags.keys()].map(
    (name) => `complete -c batch-infer -n __fish_use_subcommand -a ${name} -d '${COMMANDS[name]?.summary}'`,
  );
  const options = [...flags].flatMap(([name, words]) =>
    words.map(
      (word) => `complete -c batch-infer -n '__fish_seen_subcommand_from ${name}' -l ${word.slice(2)}`,
    ),
  );
  return `${[...names, ...options].join('\n')}\n`;
}
