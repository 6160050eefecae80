import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import { expect, it, vi } from 'vitest';
import { DirectSubscription } from './direct-subscription.js';

const offer: Offer = {
  shard_id: 's',
  epoch: 0,
  lane: laneName('normal', 'm'),
  model: 'm',
  priority: 'normal',
  items: 1,
  job_id: 'j',
  offered_at_ms: 0,
};

it('delivers an offer that was called busy again at once when it is resumed', async () => {
  const answers = [{ outcome: 'busy' as const, retryAfterMs: 3_600_000 }];
  const handle = vi.fn(async () => answers.shift() ?? { outcome: 'taken' as const });
  const polls = [[offer]];
  const subscription = new DirectSubscription({
    poll: async (signal) =>
      polls.shift() ??
      new Promise<Offer[]>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
    handle,
    paused: false,
    serverUrl: 'http://control-plane',
    random: () => 0,
  });
  await vi.waitFor(() => expect(handle).toHaveBeenCalledTimes(1));
  // The answer has to arrive before there is a wait to end.
  await new Promise((resolve) => setImmediate(resolve));
  subscription.resume();
  await vi.waitFor(() => expect(handle).toHaveBeenCalledTimes(2));
  await subscription.close();
});
