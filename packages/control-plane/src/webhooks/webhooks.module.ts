import { Module } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, CONFIG, LEDGER, SIGNALS } from '../tokens.js';
import { TargetGuard } from './target-guard.js';
import { WebhookDeliverer } from './webhook-deliverer.js';
import { WebhookEndpoints } from './webhook-endpoints.js';
import { WebhookSender } from './webhook-sender.js';

const providers = [
  {
    provide: TargetGuard,
    inject: [CONFIG],
    useFactory: ({ webhookAllowHosts }: ControlPlaneConfig) =>
      new TargetGuard({ allowHosts: webhookAllowHosts }),
  },
  {
    provide: WebhookSender,
    inject: [TargetGuard],
    useFactory: (guard: TargetGuard) => new WebhookSender({ guard }),
  },
  {
    provide: WebhookDeliverer,
    inject: [LEDGER, CLOCK, WebhookSender],
    useFactory: (ledger: Ledger, clock: Clock, sender: WebhookSender) =>
      new WebhookDeliverer({ ledger, clock, sender }),
  },
  {
    provide: WebhookEndpoints,
    inject: [LEDGER, CLOCK, TargetGuard, WebhookSender, SIGNALS],
    useFactory: (ledger: Ledger, clock: Clock, guard: TargetGuard, sender: WebhookSender, signals: Signals) =>
      new WebhookEndpoints({ ledger, clock, guard, sender, onDue: () => signals.emit('webhook-due') }),
  },
];

/** Telling others of the ends of jobs. */
@Module({ providers, exports: providers })
export class WebhooksModule {}
