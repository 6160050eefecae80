import type { RunnerView } from '@batch-infer/contracts/runner-protocol';
import { Controller, Get, Inject } from '@nestjs/common';
import { Fleet } from '../../jobs/fleet.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { openapiDocument } from '../openapi.js';

/** What the server says of itself: runners, the API's description. */
@Controller()
export class ServerController {
  readonly #fleet: Fleet;

  constructor(@Inject(Fleet) fleet: Fleet) {
    this.#fleet = fleet;
  }

  @Get('v1/runners')
  async runners(@CurrentCaller() caller: Caller): Promise<{ object: 'list'; data: RunnerView[] }> {
    return { object: 'list', data: await this.#fleet.runners(projectLimitOf(caller)) };
  }

  @Get('openapi.json')
  openapi(): object {
    return openapiDocument();
  }
}
