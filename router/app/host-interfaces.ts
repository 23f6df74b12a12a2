/** Addresses of this host's interfaces. */
import { networkInterfaces } from 'node:os';
import { Prefix } from '../lib/addr.ts';
import type { OwnAddress } from './kernel-plan.ts';

/** Of all interfaces that are up, loopback's among them. */
export function ownAddresses(): OwnAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([label, all]) =>
    (all ?? []).flatMap(({ cidr }) => {
      const parsed = cidr === null ? undefined : Prefix.parseLoose(cidr.replace(/%[^/]*/, ''));
      // An address may have a label of its own.
      return parsed === undefined ? [] : [{ device: label.split(':')[0]!, ...parsed }];
    }),
  );
}
