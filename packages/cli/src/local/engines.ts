/** Ports where engines listen unless told otherwise. */
export const USUAL_ENGINES = [
  { name: 'vLLM', port: 8000 },
  { name: 'Ollama', port: 11_434 },
  { name: 'llama-server', port: 8080 },
  { name: 'LM Studio', port: 1234 },
] as const;

const PROBE_MS = 1_500;

export interface FoundEngine {
  readonly url: string;
  readonly models: readonly string[];
}

/** The models of an OpenAI-compatible server; `null` when none answers there. */
export async function listEngineModels(engineUrl: string, apiKey?: string): Promise<string[] | null> {
  const origin = engineUrl.replace(/\/+$/, '').replace(/\/v1$/, '');
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const body = await getJson(`${origin}/v1/models`, headers);
  if (typeof body !== 'object' || body === null || !('data' in body) || !Array.isArray(body.data))
    return null;
  return body.data.flatMap((model: unknown) =>
    typeof model === 'object' && model !== null && 'id' in model && typeof model.id === 'string'
      ? [model.id]
      : [],
  );
}

/** Looks at the usual ports of this machine. A batch-infer server, which lists models too, is no engine. */
export async function findLocalEngines(
  candidates: readonly { readonly port: number }[] = USUAL_ENGINES,
): Promise<FoundEngine[]> {
  const found = await Promise.all(
    candidates.map(async ({ port }): Promise<FoundEngine | null> => {
      const url = `http://127.0.0.1:${port}`;
      const models = await listEngineModels(url);
      if (models === null || models.length === 0 || (await isBatchInfer(url))) return null;
      return { url, models };
    }),
  );
  return found.filter((engine) => engine !== null);
}

async function isBatchInfer(url: string): Promise<boolean> {
  const body = await getJson(`${url}/openapi.json`, {});
  const text = JSON.stringify(body ?? null).slice(0, 100_000);
  return text.includes('/v1/runner/claim') || text.includes('/v1/jobs');
}

async function getJson(url: string, headers: Record<string, string>): Promise<unknown> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(PROBE_MS) });
    if (!response.ok) return null;
    return await response.json();
  } catch {
    return null;
  }
}
