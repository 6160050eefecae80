import { afterEach, describe, expect, it, vi } from 'vitest';
import type { FaultAction } from './faults.js';
import { echoText } from './generation-request.js';
import { startEngineSim } from './server.js';
import type { EngineSim, EngineSimOptions } from './types.js';

const open: EngineSim[] = [];

async function start(options: EngineSimOptions = {}): Promise<EngineSim> {
  const sim = await startEngineSim({ serviceTimeMs: 0, ...options });
  open.push(sim);
  return sim;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((sim) => sim.close()));
});

function chat(text: string) {
  return { model: 'sim-model', messages: [{ role: 'user', content: text }] };
}

function send(sim: EngineSim, text: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${sim.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(chat(text)),
    ...(signal === undefined ? {} : { signal }),
  });
}

describe('faults of engine-sim', () => {
  it.each([
    [500, 'InternalServerError'],
    [503, 'Service Unavailable'],
    [429, 'Too Many Requests'],
  ])('answers %i with vLLM’s body and Retry-After when given', async (status, type) => {
    const sim = await start({ faults: [{ action: { kind: 'status', status, retryAfterSeconds: 2 } }] });
    const answer = await send(sim, 'x');
    expect(answer.status).toBe(status);
    expect(answer.headers.get('retry-after')).toBe('2');
    expect(await answer.json()).toMatchObject({ error: { type, code: status } });
    expect(sim.stats()).toMatchObject({ received: 1, completed: 0, failed: 1, inFlight: 0 });
  });

  it.each<FaultAction>([{ kind: 'reset' }, { kind: 'reset', at: 'completion' }, { kind: 'cutBody' }])(
    'breaks the connection for %o',
    async (action) => {
      const sim = await start({ faults: [{ action }] });
      await expect(send(sim, 'x').then((answer) => answer.text())).rejects.toThrow();
      expect(sim.stats()).toMatchObject({ completed: 0, failed: 1, inFlight: 0 });
    },
  );

  it('answers garbage with 200', async () => {
    const sim = await start({ faults: [{ action: { kind: 'garbage' } }] });
    const answer = await send(sim, 'x');
    expect(answer.status).toBe(200);
    await expect(answer.json()).rejects.toThrow(SyntaxError);
    expect(sim.stats()).toMatchObject({ completed: 0, failed: 1 });
  });

  it('aborts with 200 and half of the text', async () => {
    const sim = await start({ faults: [{ action: { kind: 'abort' } }] });
    const body = (await (await send(sim, 'x')).json()) as {
      choices: { message: { content: string }; finish_reason: string }[];
    };
    expect(body.choices[0]?.finish_reason).toBe('abort');
    expect(echoText(chat('x')).startsWith(body.choices[0]?.message.content ?? '?')).toBe(true);
    expect(sim.requests()[0]?.completed).toBe(0);
  });

  it('hangs until the client gives up, without holding a slot', async () => {
    const sim = await start({
      slots: 1,
      faults: [{ match: { bodyIncludes: 'stuck' }, action: { kind: 'hang' } }],
    });
    const leaving = new AbortController();
    const stuck = send(sim, 'stuck', leaving.signal);
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ inFlight: 1, running: 0 }));
    expect((await send(sim, 'fine')).status).toBe(200);
    leaving.abort();
    await expect(stuck).rejects.toThrow();
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ inFlight: 0, aborted: 1 }));
  });

  it('slows one request down and no other', async () => {
    const sim = await start({
      serviceTimeMs: 1,
      faults: [{ match: { bodyIncludes: 'slow' }, action: { kind: 'slow', factor: 1_000_000 } }],
    });
    const leaving = new AbortController();
    const slow = send(sim, 'slow', leaving.signal);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    expect((await send(sim, 'fast')).status).toBe(200);
    expect(sim.stats()).toMatchObject({ running: 1, completed: 1 });
    leaving.abort();
    await expect(slow).rejects.toThrow();
  });

  it('lets the hook choose the fault', async () => {
    const sim = await start({
      onRequest: ({ attempt, path }) =>
        attempt === 1 && path === '/v1/chat/completions' ? { kind: 'status', status: 500 } : undefined,
    });
    expect([(await send(sim, 'x')).status, (await send(sim, 'x')).status]).toEqual([500, 200]);
  });

  it('changes its script at run time', async () => {
    const sim = await start();
    sim.setFaults([{ match: { times: 1 }, action: { kind: 'status', status: 500 } }]);
    expect([(await send(sim, 'x')).status, (await send(sim, 'x')).status]).toEqual([500, 200]);
    sim.setFaults([]);
    expect((await send(sim, 'y')).status).toBe(200);
  });

  it('dies of a poison item, taking the others along, and comes back', async () => {
    const died = vi.fn();
    const sim = await start({
      serviceTimeMs: 3_600_000,
      onDie: died,
      faults: [{ match: { bodyIncludes: 'poison' }, action: { kind: 'die', reviveAfterMs: 1 } }],
    });
    const innocent = send(sim, 'innocent').catch((error: unknown) => error);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    await expect(send(sim, 'poison')).rejects.toThrow();
    expect(await innocent).toBeInstanceOf(Error);
    await vi.waitFor(async () => expect((await fetch(`${sim.url}/health`)).status).toBe(200));
    expect(died).toHaveBeenCalledWith(true);
    expect(sim.stats()).toMatchObject({ received: 2, failed: 1, aborted: 1, running: 0, inFlight: 0 });
  });
});

describe('the switches of engine-sim', () => {
  it('answers nothing while frozen, and everything after the thaw', async () => {
    // Frozen on arrival: the service time of the first request ends during the freeze.
    const sim: EngineSim = await start({
      serviceTimeMs: 5,
      onRequest: () => {
        if (sim.stats().received === 1) sim.freeze();
        return undefined;
      },
    });
    const before = send(sim, 'before');
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    const during = send(sim, 'during');
    const settled = vi.fn();
    const probe = fetch(`${sim.url}/health`);
    probe.finally(settled).catch(settled);
    // The control route answers what came later, so the probe had its chance.
    expect((await fetch(`${sim.url}/__sim/stats`)).status).toBe(200);
    expect(settled).not.toHaveBeenCalled();
    expect(sim.stats()).toMatchObject({ received: 1, completed: 0 });
    sim.thaw();
    expect((await Promise.all([before, during, probe])).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  it('freezes the step model too', async () => {
    const sim = await start({ mode: 'step', timeScale: 0.01 });
    sim.freeze();
    const answer = send(sim, 'x');
    expect(sim.stats().received).toBe(0);
    sim.thaw();
    expect((await answer).status).toBe(200);
  });

  it('refuses connections once killed, and starts empty on the same port when revived', async () => {
    const sim = await start({ serviceTimeMs: 3_600_000 });
    const { url } = sim;
    const lost = send(sim, 'lost').catch((error: unknown) => error);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    await sim.kill();
    expect(await lost).toBeInstanceOf(Error);
    await expect(fetch(`${url}/health`)).rejects.toThrow();
    await sim.revive();
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(sim.stats()).toMatchObject({ received: 1, aborted: 1, running: 0 });
  });

  it('resets connections and keeps the port open', async () => {
    const sim = await start({ serviceTimeMs: 3_600_000 });
    const lost = send(sim, 'lost').catch((error: unknown) => error);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    sim.killConnections();
    expect(await lost).toBeInstanceOf(Error);
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ running: 0, aborted: 1 }));
    expect((await fetch(`${sim.url}/health`)).status).toBe(200);
  });

  it('listens to the same commands over HTTP, even while frozen', async () => {
    const sim = await start();
    const command = (path: string, body?: string) =>
      fetch(`${sim.url}/__sim/${path}`, { method: 'POST', ...(body === undefined ? {} : { body }) });
    const rules = [{ match: { times: 1 }, action: { kind: 'status', status: 500 } }];
    expect((await command('faults', JSON.stringify(rules))).status).toBe(200);
    expect((await command('faults', '{"not":"rules"}')).status).toBe(400);
    expect((await send(sim, 'x')).status).toBe(500);
    await command('freeze');
    const held = send(sim, 'x');
    expect(await (await fetch(`${sim.url}/__sim/stats`)).json()).toMatchObject({ received: 1, failed: 1 });
    await command('thaw');
    expect((await held).status).toBe(200);
    expect(await (await fetch(`${sim.url}/__sim/requests`)).json()).toMatchObject([
      { received: 2, completed: 1 },
    ]);
    expect((await command('kill-connections')).status).toBe(200);
    expect((await command('unknown')).status).toBe(404);
  });
});
