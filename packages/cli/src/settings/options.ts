import { DEFAULT_ENDPOINT } from '@batch-infer/contracts';
/** One flag of a command. It can also be given by environment and by configuration file. */
export interface OptionSpec {
  /** Long name without dashes: `engine-url` is `--engine-url`, `BATCH_INFER_ENGINE_URL` and the key `engineUrl`. */
  readonly flag: string;
  readonly short?: string;
  /** What stands behind the flag in the help; absent: a switch. */
  readonly value?: string;
  /** May be given several times; one variable or key holds several, separated by commas. */
  readonly repeatable?: boolean;
  readonly description: string;
  readonly default?: string;
  /** Never shown by `config show`. */
  readonly secret?: boolean;
}

export const environmentName = (flag: string): string =>
  `BATCH_INFER_${flag.toUpperCase().replaceAll('-', '_')}`;

export const configKey = (flag: string): string =>
  flag.replace(/-([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());

/** Which server to talk to, and how to talk to people: options of every command that asks a server. */
export const CLIENT_OPTIONS: readonly OptionSpec[] = [
  { flag: 'base-url', value: 'URL', description: 'the server', default: 'http://127.0.0.1:8080' },
  { flag: 'api-key', value: 'KEY', description: 'API key, where the server wants one', secret: true },
];

export const TALK_OPTIONS: readonly OptionSpec[] = [
  { flag: 'json', description: 'machine-readable output: one JSON document a line on stdout' },
  { flag: 'quiet', short: 'q', description: 'no talk; stdout has the id only' },
];

/** What a job is to be, on the commands that make one. */
export const JOB_OPTIONS: readonly OptionSpec[] = [
  { flag: 'model', value: 'NAME', description: 'model of lines that name none' },
  {
    flag: 'endpoint',
    value: 'PATH',
    description: 'endpoint of lines that name none',
    default: DEFAULT_ENDPOINT,
  },
  {
    flag: 'completion-window',
    value: 'TIME',
    description: 'what has not ended by then expires (default: 24h)',
  },
  { flag: 'priority', value: 'CLASS', description: 'high, normal or low (default: normal)' },
  { flag: 'item-timeout', value: 'TIME', description: 'time for one attempt at one item (default: 10m)' },
  { flag: 'max-attempts', value: 'N', description: 'attempts at one item (default: 3)' },
  {
    flag: 'max-error-rate',
    value: 'SHARE',
    description: 'stop the job when more than this share of its items failed, 0 to 1',
  },
  {
    flag: 'plan-order',
    value: 'ORDER',
    description: 'auto: what is fastest at the engine; input: as in the file (default: auto)',
  },
  {
    flag: 'reuse',
    value: 'SCOPE',
    description:
      'job: identical requests with a determined answer run once; project: over jobs (default: none)',
  },
  {
    flag: 'reuse-max-age',
    value: 'TIME',
    description: 'with --reuse project: how old an answer may be (default: 24h)',
  },
  { flag: 'defaults', value: 'JSON', description: 'an object merged under the body of every line' },
  {
    flag: 'metadata',
    value: 'KEY=VALUE',
    repeatable: true,
    description: 'a pair to find the job by (repeatable)',
  },
  { flag: 'webhook', value: 'URL', description: 'tell this address of the end, by a signed POST' },
  { flag: 'idempotency-key', value: 'KEY', description: 'instead of the one made of content and options' },
  { flag: 'new', description: 'make a new job even if the same content was submitted before' },
];

/** How to wait and what counts as success, on the commands that wait. */
export const WAIT_OPTIONS: readonly OptionSpec[] = [
  {
    flag: 'output',
    short: 'o',
    value: 'FILE',
    description: 'where result lines go, one an item in input order; - is stdout',
  },
  {
    flag: 'format',
    value: 'FORMAT',
    description: 'of the result lines: native or openai',
    default: 'native',
  },
  { flag: 'timeout', value: 'TIME', description: 'stop waiting after this time (exit 8); the job goes on' },
  {
    flag: 'max-failures',
    value: 'N',
    description: 'failed items that are no failure of the command (default: 0)',
  },
  {
    flag: 'min-success-rate',
    value: 'SHARE',
    description: 'succeeded items needed, 0 to 1, instead of --max-failures',
  },
  { flag: 'cancel-on-interrupt', description: 'Ctrl-C cancels the job instead of leaving it running' },
];

/** The engines of a runner. */
export const ENGINE_OPTIONS: readonly OptionSpec[] = [
  {
    flag: 'engine-url',
    value: 'URL',
    repeatable: true,
    description: 'an OpenAI-compatible server (repeatable)',
  },
  {
    flag: 'launch',
    value: 'COMMAND',
    description: 'start and supervise an engine, e.g. "vllm serve MODEL --port 8000"',
  },
  {
    flag: 'launch-env',
    value: 'NAME',
    repeatable: true,
    description:
      'a variable that the launched engine inherits although it is ours or is named like a secret (repeatable)',
  },
  {
    flag: 'preset',
    value: 'NAME',
    description:
      'flags for the engine to launch, those that --launch does not have: vllm-throughput, vllm-shared, vllm-cpu, sglang-throughput or llama-cpp. Without --launch the whole command, for --model',
  },
  { flag: 'engine-api-key', value: 'KEY', description: 'API key of the engines', secret: true },
  {
    flag: 'engine-health-path',
    value: 'PATH',
    description: 'route that says whether an engine lives, or off: its answers alone tell (default: /health)',
  },
  {
    flag: 'window',
    value: 'N',
    description: 'requests in flight at an engine (default: steered by its state)',
  },
  {
    flag: 'reserve',
    value: 'N',
    description: 'places at each engine left to traffic that is not ours (default: 0)',
  },
  {
    flag: 'max-sequences',
    value: 'N',
    description: 'requests that each engine runs at once (default: what it says, or its --launch command)',
  },
  { flag: 'engine-wait', value: 'TIME', description: 'how long to wait for a first engine (default: 60s)' },
];

/** Where a control plane keeps its data. */
export const DATA_OPTIONS: readonly OptionSpec[] = [
  { flag: 'data', value: 'DIR', description: 'folder of ledger and files', default: '.batch-infer' },
];
