import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { CoreModule, type CorePorts } from './core.module.js';
import { DispatchModule } from './dispatch/dispatch.module.js';
import { AccessModule } from './http/access/access.module.js';
import { AnthropicModule } from './http/anthropic/anthropic.module.js';
import { ProblemFilter } from './http/error-filter.js';
import { EventsHttpModule } from './http/events/events-http.module.js';
import { HealthController } from './http/health/health.controller.js';
import { LimitsModule } from './http/limits/limits.module.js';
import { NativeModule } from './http/native/native.module.js';
import { OpenAiModule } from './http/openai/openai.module.js';
import { RunnerModule } from './http/runner/runner.module.js';
import { SyncModule } from './http/sync/sync.module.js';
import { WebhooksHttpModule } from './http/webhooks/webhooks-http.module.js';
import { JobsModule } from './jobs/jobs.module.js';
import { LeasesModule } from './leases/leases.module.js';
import { WebhooksModule } from './webhooks/webhooks.module.js';

/** The whole application. Health is served in every role, the API only by processes of the role `api`. */
@Module({})
export class AppModule {
  static forPorts(ports: CorePorts): DynamicModule {
    const api = ports.config.roles.includes('api')
      ? [
          NativeModule,
          OpenAiModule,
          AnthropicModule,
          SyncModule,
          EventsHttpModule,
          WebhooksHttpModule,
          LimitsModule,
          AccessModule,
          RunnerModule,
        ]
      : [];
    return {
      module: AppModule,
      imports: [CoreModule.forPorts(ports), LeasesModule, DispatchModule, JobsModule, WebhooksModule, ...api],
      controllers: [HealthController],
      providers: [{ provide: APP_FILTER, useClass: ProblemFilter }],
    };
  }
}
