import { Module } from '@nestjs/common';
import { WebhooksModule } from '../../webhooks/webhooks.module.js';
import { DeliveriesController } from './deliveries.controller.js';
import { EndpointsController } from './endpoints.controller.js';

/** Webhooks: endpoints, secrets, the delivery log. */
@Module({ imports: [WebhooksModule], controllers: [EndpointsController, DeliveriesController] })
export class WebhooksHttpModule {}
