import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../dist/engine-sim/main.js', import.meta.url));
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function launch(...flags: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [program, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let talk = '';
  for await (const chunk of child.stderr ?? []) {
    talk += String(chunk);
    const ready = /^engine-sim ready (http:\/\/127\.0\.0\.1:\d+)\n/.exec(talk);
    if (ready?.[1] !== undefined) return { child, url: ready[1] };
  }
  throw new Error(`engine-sim ended before it was ready: ${talk}`);
}

describe('engine-sim as a program', () => {
  it('says where it listens, serves its model and ends on SIGTERM', async () => {
    const { child, url } = await launch('--service-ms', '0', '--model', 'tiny', '--api-key', 'K');
    const headers = { authorization: 'Bearer K' };
    expect(await (await fetch(`${url}/v1/models`, { headers })).json()).toMatchObject({
      data: [{ id: 'tiny' }],
    });
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('crashes of a poison item', async () => {
    const { child, url } = await launch('--service-ms', '0');
    const rules = [{ match: { bodyIncludes: 'poison' }, action: { kind: 'die' } }];
    await fetch(`${url}/__sim/faults`, { method: 'POST', body: JSON.stringify(rules) });
    const exited = once(child, 'exit');
    const body = JSON.stringify({ model: 'sim-model', prompt: 'poison' });
    const headers = { 'content-type': 'application/json' };
    await expect(fetch(`${url}/v1/completions`, { method: 'POST', headers, body })).rejects.toThrow();
    expect(await exited).toEqual([1, null]);
  });

  it('refuses a flag that is not a number', async () => {
    await expect(launch('--slots', 'many')).rejects.toThrow('--slots must be a number');
  });
});
