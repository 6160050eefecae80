import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { readUsage } from './process-usage.ts';

it('reads CPU time and memory of a process, its children included', async () => {
  const work =
    'const end = Date.now() + 200; while (Date.now() < end); console.log("done"); setTimeout(() => {}, 60000);';
  const nested = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(work)}], { stdio: "inherit" });`;
  const child = spawn(process.execPath, ['-e', `${nested} process.on("SIGTERM", () => process.exit(0));`], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('the process did not start');
  try {
    await once(child.stdout, 'data');
    const usage = readUsage(pid);
    expect(usage.cpuSeconds).toBeGreaterThan(0.05);
    // Two Node processes.
    expect(usage.rssBytes).toBeGreaterThan(40e6);
    expect(usage.peakRssBytes).toBeGreaterThanOrEqual(usage.rssBytes);
  } finally {
    const ended = once(child, 'exit');
    // The group: parent and child.
    process.kill(-pid, 'SIGKILL');
    await ended;
  }
});

it('refuses to report on a process that is gone', async () => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  expect(() => readUsage(child.pid ?? 0)).toThrow();
});
