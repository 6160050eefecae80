import type { Project, ProjectParams } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import type { Settings } from '../settings/settings.js';
import { formatTable } from '../terminal/format.js';
import { toWireJson } from '../terminal/wire-json.js';

const ACTIONS = ['create', 'list', 'update'] as const;
/** In the place of a cap: none. */
const NO_CAP = 'none';

export const command: CommandDefinition = {
  name: 'projects',
  operands: [
    { name: '<action>', description: ACTIONS.join(', ') },
    { name: '[id]', description: 'the project to make or change' },
  ],
  description: 'Make, list and change projects, with the key of an administrator of all projects.',
  options: [
    { flag: 'name', value: 'NAME', description: 'what people call it' },
    { flag: 'weight', value: 'N', description: 'share of the runners beside the others (default: 1)' },
    {
      flag: 'max-running-items',
      value: 'N',
      description: `items at runners at a time, or "${NO_CAP}" (default: ${NO_CAP})`,
    },
    { flag: 'json', description: 'one project a line, as the API gives it' },
    ...CLIENT_OPTIONS,
  ],
  examples: ['batch-infer projects create evals --weight 2', 'batch-infer projects update evals --weight 1'],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const [name, id = ''] = operands;
  const action = ACTIONS.find((each) => each === name);
  if (action === undefined) throw usageError(`projects takes ${ACTIONS.join(', ')}, not "${name}"`);
  if (action !== 'list' && id === '') throw usageError(`projects ${action} needs the id of a project`);
  const { signal } = interrupts;
  const params: ProjectParams = { ...paramsOf(settings), signal };
  const { projects } = await connect(settings);
  const shown =
    action === 'list'
      ? await projects.list({ signal })
      : [action === 'create' ? await projects.create(id, params) : await projects.update(id, params)];
  if (settings.switch('json')) {
    for (const project of shown) await io.writeOut(`${JSON.stringify(toWireJson(project))}\n`);
  } else {
    await io.writeOut(
      formatTable([['PROJECT', 'NAME', 'WEIGHT', 'MAX RUNNING', 'CREATED'], ...shown.map(toRow)]),
    );
  }
  return EXIT.ok;
}

function paramsOf(settings: Settings): ProjectParams {
  const name = settings.text('name');
  const weight = settings.number('weight', { min: 0, whole: false });
  const cap =
    settings.text('max-running-items') === NO_CAP ? null : settings.number('max-running-items', { min: 1 });
  return {
    ...(name === undefined ? {} : { name }),
    ...(weight === undefined ? {} : { weight }),
    ...(cap === undefined ? {} : { maxRunningItems: cap }),
  };
}

const toRow = ({ id, name, weight, maxRunningItems, createdAt }: Project): string[] => [
  id,
  name,
  String(weight),
  maxRunningItems === null ? NO_CAP : String(maxRunningItems),
  createdAt.toISOString(),
];
