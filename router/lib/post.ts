/**
 * Values with addresses in them across threads. Structured clone keeps data and loses methods, so Addr and Prefix travel
 * as text and everything else as it is. For plain objects, arrays and what structured clone knows; not for classes.
 */
import { Addr, Prefix } from './addr.ts';

declare const content: unique symbol;

/** A `T` on its way to another thread; only `revived` can read it. */
export interface Posted<T> {
  readonly [content]: T;
}

/** `value` in a form that structured clone carries. */
export function posted<T>(value: T): Posted<T> {
  return flat(value) as Posted<T>;
}

/** The value that `posted` was given. */
export function revived<T>(value: Posted<T>): T {
  return alive(value) as T;
}

const ADDR = '$addr';
const PREFIX = '$prefix';

function flat(v: unknown): unknown {
  if (v instanceof Addr) return { [ADDR]: v.toString() };
  if (v instanceof Prefix) return { [PREFIX]: v.toString() };
  return walk(v, flat);
}

function alive(v: unknown): unknown {
  if (typeof v === 'object' && v !== null) {
    const { [ADDR]: addr, [PREFIX]: prefix } = v as { [ADDR]?: string; [PREFIX]?: string };
    if (addr !== undefined) return Addr.parse(addr);
    if (prefix !== undefined) return Prefix.parse(prefix);
  }
  return walk(v, alive);
}

function walk(v: unknown, visit: (v: unknown) => unknown): unknown {
  if (Array.isArray(v)) return v.map(visit);
  if (typeof v !== 'object' || v === null || Object.getPrototypeOf(v) !== Object.prototype) return v;
  return Object.fromEntries(Object.entries(v).map(([key, inner]) => [key, visit(inner)]));
}
