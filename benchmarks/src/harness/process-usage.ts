import { readFileSync } from 'node:fs';

/** What a process and its descendants have used so far. */
export interface Usage {
  /** User and system time, of ended children too. */
  readonly cpuSeconds: number;
  /** Resident memory now, in bytes, summed over the process and its descendants. */
  readonly rssBytes: number;
  /** Largest resident memory so far, summed likewise: an upper bound when the peaks fell apart. */
  readonly peakRssBytes: number;
}

/** `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** @throws when the process is gone: a figure of a dead process would be a lie. */
export function readUsage(pid: number): Usage {
  const own = readOne(pid);
  return childrenOf(pid)
    .map((child) => {
      try {
        return readUsage(child);
      } catch {
        return { cpuSeconds: 0, rssBytes: 0, peakRssBytes: 0 };
      }
    })
    .reduce(
      (sum, usage) => ({
        cpuSeconds: sum.cpuSeconds + usage.cpuSeconds,
        rssBytes: sum.rssBytes + usage.rssBytes,
        peakRssBytes: sum.peakRssBytes + usage.peakRssBytes,
      }),
      own,
    );
}

function readOne(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold spaces; state is the third field of `man 5 proc`, utime the 14th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, text) => sum + Number(text), 0);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    cpuSeconds: ticks / TICKS_PER_SECOND,
    rssBytes: kibibytes(status, 'VmRSS') * 1_024,
    peakRssBytes: kibibytes(status, 'VmHWM') * 1_024,
  };
}

function kibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}
