/** Offers without a broker: runners long-poll the control plane. */
export { DirectHub, type PollParams } from './direct-hub.js';
export { DirectSubscriber, type DirectSubscriberOptions } from './direct-subscriber.js';
