import type { BatchInfer, Project, ProjectParams } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import type { Io } from '../io.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import type { Settings } from '../settings/settings.js';
import { formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

const ACTIONS = ['create', 'list', 'update', 'limits'] as const;
/** In the place of a cap: none. */
const NO_CAP = 'none';

export const command: CommandDefinition = {
  name: 'projects',
  operands: [
    { name: '<action>', description: ACTIONS.join(', ') },
    { name: '[id]', description: 'the project to make, change or limit' },
  ],
  description:
    'Make, list and change projects, with the key of an administrator of all projects. `limits` shows what a project may ask for, or sets what is given.',
  options: [
    { flag: 'name', value: 'NAME', description: 'what people call it' },
    { flag: 'weight', value: 'N', description: 'share of the runners beside the others (default: 1)' },
    {
      flag: 'max-running-items',
      value: 'N',
      description: `items at runners at a time, or "${NO_CAP}" (default: ${NO_CAP})`,
    },
    {
      flag: 'requests-per-minute',
      value: 'N',
      description: `requests to the API, or "${NO_CAP}" (limits)`,
    },
    {
      flag: 'max-running-jobs',
      value: 'N',
      description: `jobs of several items that run at a time, or "${NO_CAP}"; others wait (limits)`,
    },
    {
      flag: 'max-queued-tokens',
      value: 'N',
      description: `tokens of the jobs that run at a time, or "${NO_CAP}"; others wait (limits)`,
    },
    { flag: 'json', description: 'one project a line, as the API gives it' },
    ...CLIENT_OPTIONS,
  ],
  examples: [
    'batch-infer projects create evals --weight 2',
    'batch-infer projects update evals --weight 1',
    'batch-infer projects limits evals --requests-per-minute 600 --max-running-jobs 4',
  ],
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
  if (action === 'limits') return await limit(projects, id, { settings, io, signal });
  const shown =
    action === 'list'
      ? await projects.list({ signal })
      : [action === 'create' ? await projects.create(id, params) : await projects.update(id, params)];
  if (settings.switch('json')) {
    for (const project of shown) await io.writeOut(jsonLine(toWireJson(project)));
  } else {
    await io.writeOut(
      formatTable([['PROJECT', 'NAME', 'WEIGHT', 'MAX RUNNING', 'CREATED'], ...shown.map(toRow)]),
    );
  }
  return EXIT.ok;
}

/** Shows the limits of a project, after setting those that were given. */
async function limit(
  projects: BatchInfer['projects'],
  id: string,
  { settings, io, signal }: { settings: Settings; io: Io; signal: AbortSignal },
): Promise<number> {
  const given = {
    requestsPerMinute: capOf(settings, 'requests-per-minute'),
    maxRunningJobs: capOf(settings, 'max-running-jobs'),
    maxQueuedTokens: capOf(settings, 'max-queued-tokens'),
  };
  const change = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const limits =
    Object.keys(change).length === 0
      ? await projects.limits(id, { signal })
      : await projects.setLimits(id, { ...change, signal });
  if (settings.switch('json')) await io.writeOut(jsonLine(toWireJson(limits)));
  else {
    const cells = [limits.requestsPerMinute, limits.maxRunningJobs, limits.maxQueuedTokens].map(shownCap);
    await io.writeOut(
      formatTable([
        ['PROJECT', 'REQUESTS/MIN', 'RUNNING JOBS', 'QUEUED TOKENS'],
        [limits.projectId, ...cells],
      ]),
    );
  }
  return EXIT.ok;
}

/** `undefined`: not given. `null`: lifted. */
const capOf = (settings: Settings, flag: string): number | null | undefined =>
  settings.text(flag) === NO_CAP ? null : settings.number(flag, { min: 1 });

const shownCap = (cap: number | null): string => (cap === null ? NO_CAP : String(cap));

function paramsOf(settings: Settings): ProjectParams {
  const name = settings.text('name');
  const weight = settings.number('weight', { min: 0, whole: false });
  const cap = capOf(settings, 'max-running-items');
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
  shownCap(maxRunningItems),
  createdAt.toISOString(),
];
