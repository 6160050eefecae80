/** A transport that loses, doubles, shuffles and replays offers, over any other one (I4). */
export { type ChaosOptions, chaosPublisher } from './chaos-publisher.js';
export { chaosSubscriber } from './chaos-subscriber.js';
