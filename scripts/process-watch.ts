const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

/** What a stretch of work took of this process. */
export interface Watched {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rssBeforeMegabytes: number;
  readonly rssPeakMegabytes: number;
  /** The longest time for which the event loop stood still. */
  readonly longestStopMs: number;
}

/** Watches this process until the answer is called. */
export function watchProcess(): () => Watched {
  const before = process.memoryUsage.rss();
  let peak = before;
  let longestStopMs = 0;
  let lastMs = performance.now();
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
    longestStopMs = Math.max(longestStopMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 5);
  const startedMs = lastMs;
  const cpu = process.cpuUsage();
  return () => {
    clearInterval(timer);
    const { user, system } = process.cpuUsage(cpu);
    return {
      seconds: (performance.now() - startedMs) / 1_000,
      cpuSeconds: (user + system) / 1e6,
      rssBeforeMegabytes: megabytes(before),
      rssPeakMegabytes: megabytes(peak),
      longestStopMs: Math.round(longestStopMs),
    };
  };
}
