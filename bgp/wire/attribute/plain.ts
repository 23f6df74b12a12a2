/** The attributes of a route about which nothing is to be said: of our own prefixes, before anything is added. */

import { EMPTY_PATH } from './as-path.ts';
import { type Attributes, NO_NUMBERS, Origin } from './model.ts';

export const PLAIN_ATTRIBUTES: Attributes = Object.freeze({
  origin: Origin.Igp,
  asPath: EMPTY_PATH,
  med: undefined,
  localPref: undefined,
  atomicAggregate: false,
  aggregator: undefined,
  communities: NO_NUMBERS,
  extendedCommunities: NO_NUMBERS,
  largeCommunities: NO_NUMBERS,
  originatorId: undefined,
  clusterList: NO_NUMBERS,
  otc: undefined,
  unknown: Object.freeze([]),
});
