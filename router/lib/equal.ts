/** Whether two values mean the same, for settings that are compared with what they were. */

import { Addr, Prefix } from './addr.ts';

/**
 * Addresses and prefixes are compared by what they are, lists and plain objects by their parts (a part that is undefined is
 * one that is missing), octets by their values, everything else by identity: functions are equal when they are the same one.
 */
export function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Addr) return b instanceof Addr && a.equals(b);
  if (a instanceof Prefix) return b instanceof Prefix && a.equals(b);
  if (Array.isArray(a) || a instanceof Uint8Array) return isSameList(a, b);
  return isPlain(a) && isPlain(b) && hasEqualParts(a, b) && hasEqualParts(b, a);
}

function isSameList(a: readonly unknown[] | Uint8Array, b: object): boolean {
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const other = b as ArrayLike<unknown>;
  if (a.length !== other.length) return false;
  for (let i = 0; i < a.length; i++) if (!isEqual(a[i], other[i])) return false;
  return true;
}

function isPlain(o: object): o is Readonly<Record<string, unknown>> {
  const prototype = Object.getPrototypeOf(o);
  return prototype === Object.prototype || prototype === null;
}

function hasEqualParts(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  for (const key of Object.keys(a)) if (!isEqual(a[key], b[key])) return false;
  return true;
}
