import { describe, expect, test } from 'vitest';
import { presetCommand, printableCommand } from './preset-command.js';
import { PRESET_NAMES, PRESETS, type PresetName } from './presets.js';
import { splitShellWords } from './shell-words.js';

const commandOf = (
  name: PresetName,
  launch: string | null,
  more: { models?: string[]; engineUrl?: string } = {},
): string =>
  presetCommand({
    ...{ preset: PRESETS[name], name, launch, models: more.models ?? [] },
    engineUrl: more.engineUrl ?? null,
  });

describe('the command of a preset', () => {
  test.each(PRESET_NAMES)('%s is whole for a model alone', (name) => {
    const words = splitShellWords(commandOf(name, null, { models: ['org/model'] }));
    const { address, flags } = PRESETS[name];
    expect(words).toContain('org/model');
    for (const flag of [...address, ...flags]) {
      const at = words.indexOf(flag.name);
      expect(words[at + 1]).toBe(flag.value ?? words[at + 1]);
      expect(words.filter((word) => word === flag.name)).toHaveLength(1);
    }
  });

  test.each(PRESET_NAMES)('%s adds nothing to what it has made', (name) => {
    const made = commandOf(name, null, { models: ['m'] });
    expect(commandOf(name, made)).toBe(made);
  });

  test('completes the one that was given, and leaves what is written there', () => {
    const command = commandOf('vllm-throughput', 'vllm serve m --max-num-seqs=64 --port 9000');
    expect(command).toMatch(/^vllm serve m --max-num-seqs=64 --port 9000 /);
    expect(command.match(/--max-num-seqs|--port/g)).toHaveLength(2);
    expect(command).toContain('--max-num-batched-tokens 16384');
  });

  test.each([
    ['vllm-throughput', 'vllm serve m --max_num_seqs 64', '--max-num-seqs'],
    ['vllm-throughput', 'vllm serve m --no-enable-prefix-caching', ' --enable-prefix-caching'],
    ['vllm-throughput', 'vllm serve m --shutdown 5', '--shutdown-timeout'],
    ['vllm-cpu', 'vllm serve m --gpu-memory-utilization 0.3', '--kv-cache-memory-bytes'],
    ['vllm-cpu', 'vllm serve m --compilation-config 3', '--enforce-eager'],
    ['llama-cpp', 'llama-server -m m.gguf -np 2', '--parallel'],
    ['llama-cpp', 'llama-server -m m.gguf -c 4096', '--ctx-size'],
  ] as const)('%s sees in "%s" that %s is said', (name, launch, left) => {
    expect(commandOf(name, launch)).not.toContain(left);
  });

  test('takes no beginning of a name for the name where the engine does not', () => {
    expect(commandOf('llama-cpp', 'llama-server -m m.gguf --threads 4')).toContain('--threads-http 64');
  });

  test('listens where --engine-url says, at a free port, or where the given command does', () => {
    const models = ['m'];
    expect(commandOf('vllm-cpu', null, { models })).toContain('--port {port}');
    expect(commandOf('vllm-cpu', null, { models, engineUrl: 'http://127.0.0.1:9001' })).toContain(
      '--port 9001',
    );
    expect(commandOf('vllm-cpu', 'vllm serve m')).toContain('--host 127.0.0.1 --port {port}');
    expect(commandOf('vllm-cpu', 'vllm serve m', { engineUrl: 'http://127.0.0.1:9001' })).not.toContain(
      '--port',
    );
  });

  test('leaves the ports of a container alone', () => {
    const command = commandOf('vllm-throughput', 'docker run -p 8000:8000 vllm/vllm-openai --model m');
    expect(command).not.toMatch(/--port|--host/);
    expect(command).toMatch(/--model m --max-num-seqs 512/);
  });

  test('quotes a model whose name has spaces', () => {
    const words = splitShellWords(commandOf('llama-cpp', null, { models: ["/m/it's mine.gguf"] }));
    expect(words.slice(0, 3)).toEqual(['llama-server', '-m', "/m/it's mine.gguf"]);
  });

  test.each([
    ['without a model', null, [], /--model MODEL.*--launch "vllm serve MODEL"/],
    ['with two models', null, ['a', 'b'], /one engine/],
    ['in a shell', 'bash -lc "vllm serve m"', [], /inside of a shell/],
    ['beside a file of flags', 'vllm serve m --config v.yaml', [], /outrank the file/],
    ['of another engine', 'llama-server -m m.gguf', [], /is for vLLM.*llama\.cpp/],
  ])('%s is refused', (_name, launch, models, reason) => {
    expect(() => commandOf('vllm-throughput', launch, { models })).toThrow(reason);
  });
});

test('a command is shown without its keys, and can be pasted into a shell', () => {
  const words = [
    ...['docker', 'run', '-e', 'HF_TOKEN=hf_1', 'image', '--api-key', 'k1', '--hf-token=hf_2'],
    ...['--max-num-batched-tokens', '16384', '--chat-template', 'a b'],
  ];
  expect(printableCommand(words)).toBe(
    "docker run -e HF_TOKEN=*** image --api-key *** --hf-token=*** --max-num-batched-tokens 16384 --chat-template 'a b'",
  );
});
