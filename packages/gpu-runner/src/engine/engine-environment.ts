import type { EngineFamily } from './presets.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** Ours and those of the stores beside us: an engine needs none of them. */
const OURS = /^(?:BATCH_INFER_|AWS_|PG|KAFKA_|AZURE_|GOOGLE_|GITHUB_|CI_|NPM_|NODE_AUTH_)/i;
/** What is named like a secret. */
const SECRET = /(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|PAT|DATABASE_URL|DSN)$/i;
/** Secrets that are the engine's own: it loads gated models with them, or asks its clients for them. */
const ENGINES_OWN = /^(?:HF_|HUGGING_FACE_|VLLM_|SGLANG_|SGL_|LLAMA_)/;

/** Where an engine looks for the key that it asks of its clients. */
const KEY_VARIABLES: Readonly<Partial<Record<EngineFamily, string>>> = {
  vLLM: 'VLLM_API_KEY',
  'llama.cpp': 'LLAMA_API_KEY',
};

/**
 * The environment of a launched engine: ours, without what opens the control plane, its stores or anything else. Models
 * can bring code of their own, and it would read them.
 *
 * @param named variables that are passed on whatever they are called (`--launch-env`)
 * @param family of the preset; `null` without one
 * @param apiKey the key that the runner sends to the engine: with a preset the engine asks for it
 */
export function engineEnvironment(
  environment: Environment,
  { named, family, apiKey }: { named: readonly string[]; family: EngineFamily | null; apiKey: string | null },
): Record<string, string> {
  const wanted = new Set(named);
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    const secret = OURS.test(name) || (SECRET.test(name) && !ENGINES_OWN.test(name));
    if (value !== undefined && (wanted.has(name) || !secret)) passed[name] = value;
  }
  const keyVariable = family === null ? undefined : KEY_VARIABLES[family];
  return keyVariable === undefined || apiKey === null ? passed : { [keyVariable]: apiKey, ...passed };
}
