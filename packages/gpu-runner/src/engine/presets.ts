/** One flag that a preset adds to a command where it is missing. */
export interface PresetFlag {
  /** With its dashes: `--max-num-seqs`. */
  readonly name: string;
  /** `null`: a switch. */
  readonly value: string | null;
  /** Other spellings, and flags that say the opposite: with one of them written, this one is left out. */
  readonly also?: readonly string[];
  /** For people, in `docs/runner.md`. */
  readonly why: string;
}

export type EngineFamily = 'vLLM' | 'SGLang' | 'llama.cpp';

/** How an engine is launched for one kind of work. */
export interface Preset {
  readonly family: EngineFamily;
  /** For people, in `docs/runner.md`. */
  readonly use: string;
  /** The command without its flags, for a model given by `--model`. */
  readonly start: (model: string) => readonly string[];
  /** Where it listens. Left out of commands that start a container, whose ports are mapped outside. */
  readonly address: readonly PresetFlag[];
  readonly flags: readonly PresetFlag[];
  /** How long the engine may take to end after SIGTERM, in milliseconds. */
  readonly launchGraceMs: number;
  /** Share of the engine's places that is left to traffic which is not ours. */
  readonly reserveShare: number;
}

const DETAILS: PresetFlag = {
  name: '--enable-prompt-tokens-details',
  value: null,
  why: "puts `cached_tokens` into each answer's usage: you see what the order of the plan is worth",
};
const PREFIX_CACHE: PresetFlag = {
  name: '--enable-prefix-caching',
  value: null,
  also: ['--no-enable-prefix-caching'],
  why: 'on by default today; without it the order of the plan gains nothing',
};
const SHUTDOWN: PresetFlag = {
  name: '--shutdown-timeout',
  value: '60',
  why: 'seconds in which requests in flight may end at SIGTERM, instead of failing with a 500; `--launch-grace` is 90 s to match',
};
const GPU_MEMORY: PresetFlag = {
  name: '--gpu-memory-utilization',
  value: '0.92',
  why: 'share of the memory of the GPU: more of it is more KV cache, and more sequences at once. Less where something else is on the GPU',
};

const LOOPBACK: PresetFlag = {
  name: '--host',
  value: '127.0.0.1',
  why: 'nobody but the runner needs it; vLLM would listen on all addresses',
};
const FREE_PORT: PresetFlag = {
  name: '--port',
  value: '{port}',
  why: 'a free port (the port of `--engine-url`, where that is given)',
};
const SHARED_PORT: PresetFlag = {
  name: '--port',
  value: '8000',
  why: 'one that the other users know. It listens where vLLM does by default: on all addresses',
};

const vllm = (model: string): readonly string[] => ['vllm', 'serve', model];

const THROUGHPUT: Preset = {
  family: 'vLLM',
  use: 'one or more GPUs that do nothing but batch work',
  start: vllm,
  address: [LOOPBACK, FREE_PORT],
  flags: [
    {
      name: '--max-num-seqs',
      value: '512',
      why: 'sequences in one step. Offline work gains until KV memory or compute is full; too high shows as preemptions, and the window then stays under it. 1,024 for a small model on a GPU of 80 GB; 256 where the start runs out of memory',
    },
    {
      name: '--max-num-batched-tokens',
      value: '16384',
      why: 'tokens in one step. Larger: prompts are read faster, single tokens come later, which nobody sees in a batch',
    },
    GPU_MEMORY,
    PREFIX_CACHE,
    DETAILS,
    SHUTDOWN,
  ],
  launchGraceMs: 90_000,
  reserveShare: 0,
};

const SHARED: Preset = {
  ...THROUGHPUT,
  use: 'GPUs that serve people as well: a quarter of the places stays free of our work',
  address: [SHARED_PORT],
  flags: [
    {
      name: '--max-num-seqs',
      value: '256',
      why: 'sequences in one step, ours and the others; `--reserve` is counted off this number',
    },
    {
      name: '--max-num-batched-tokens',
      value: '4096',
      why: 'tokens in one step. Smaller: our prompts hold up the tokens of the others for less long',
    },
    GPU_MEMORY,
    PREFIX_CACHE,
    DETAILS,
    SHUTDOWN,
  ],
  reserveShare: 0.25,
};

const CPU: Preset = {
  ...THROUGHPUT,
  use: "vLLM's build for CPUs, for small models and for trying things out",
  flags: [
    {
      name: '--max-num-seqs',
      value: '32',
      why: 'sequences in one step. A CPU is busy with few: 24 were 96 % of the throughput of 32 on two cores',
    },
    {
      name: '--dtype',
      value: 'bfloat16',
      why: 'what CPUs compute fastest without loss of range; many models are stored as float16',
    },
    {
      name: '--kv-cache-memory-bytes',
      value: '4G',
      also: ['--gpu-memory-utilization'],
      why: 'KV cache. Without it vLLM takes most of the memory of the machine. `VLLM_CPU_KVCACHE_SPACE` outranks it',
    },
    {
      name: '--enforce-eager',
      value: null,
      also: ['--no-enforce-eager', '--compilation-config', '-cc'],
      why: 'no compilation: the start takes one minute instead of several',
    },
    PREFIX_CACHE,
    DETAILS,
    SHUTDOWN,
  ],
};

const SGLANG: Preset = {
  family: 'SGLang',
  use: 'one or more GPUs that do nothing but batch work',
  start: (model) => ['python3', '-m', 'sglang.launch_server', '--model-path', model],
  address: [LOOPBACK, FREE_PORT],
  flags: [
    {
      name: '--enable-metrics',
      value: null,
      why: '`/metrics`, by which the window is steered',
    },
    {
      name: '--max-running-requests',
      value: '512',
      why: 'sequences in one step, as `--max-num-seqs` of vLLM',
    },
    {
      name: '--schedule-policy',
      value: 'lpm',
      why: 'of those that wait, the one with the longest cached beginning goes first',
    },
  ],
  launchGraceMs: 60_000,
  reserveShare: 0,
};

const LLAMA: Preset = {
  family: 'llama.cpp',
  use: 'a GGUF file on a CPU or a small GPU',
  // The name under which it serves is the one that was given, not one of its own making.
  start: (model) => ['llama-server', '-m', model, '--alias', model],
  address: [LOOPBACK, FREE_PORT],
  flags: [
    {
      name: '--parallel',
      value: '8',
      also: ['-np'],
      why: 'slots: requests that run at once. Read from the engine as well',
    },
    {
      name: '--ctx-size',
      value: '16384',
      also: ['-c'],
      why: 'context of all slots together: 2,048 tokens each',
    },
    {
      name: '--threads-http',
      value: '64',
      why: 'must be well above the slots and a quarter of them: with every HTTP thread taken by a waiting request it answers neither `/health` nor `/metrics`',
    },
    { name: '--metrics', value: null, why: '`/metrics`, by which the window is steered' },
    {
      name: '--cont-batching',
      value: null,
      also: ['-cb', '-nocb', '--no-cont-batching'],
      why: 'on by default today: requests join and leave at every step',
    },
  ],
  launchGraceMs: 30_000,
  reserveShare: 0,
};

/** The presets of `--preset`, by name. */
export const PRESETS = {
  'vllm-throughput': THROUGHPUT,
  'vllm-shared': SHARED,
  'vllm-cpu': CPU,
  'sglang-throughput': SGLANG,
  'llama-cpp': LLAMA,
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];
