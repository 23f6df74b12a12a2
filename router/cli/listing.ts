/**
 * Listings that come in parts, and are printed while they arrive. One that is not long is shown in the order of prefixes, a longer one
 * in that of the tables.
 */
import { fieldNames } from '../control/client.ts';
import { Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { checkFormat, formatted } from './render.ts';

/** Routes up to which a listing is put in order: what comes before is waited for, and kept. */
const IN_ORDER = 8192;

export interface ListingPrinter<R> {
  part(list: readonly R[]): void;
  /** There are no others. */
  end(): void;
}

/** Print the lists as fast as they are taken. */
export async function printListing<R extends { readonly prefix: string }>(
  { io }: Input,
  lists: AsyncIterable<readonly R[]>,
  printer: ListingPrinter<R>,
): Promise<void> {
  let kept: R[] | undefined = [];
  for await (const list of lists) {
    if (kept !== undefined) {
      kept.push(...list);
      if (kept.length <= IN_ORDER) continue;
    }
    printer.part(kept ?? list);
    kept = undefined;
    await io.drained?.();
  }
  if (kept !== undefined) printer.part(inOrder(kept));
  printer.end();
}

/**
 * What `--format` asks for.
 * @param message what is on each line, as control.proto has it
 * @throws MlshimError USAGE for unknown fields, or when another form is asked for too
 */
export function formatOf(input: Input, message: 'Route' | 'BgpPeer' | 'BgpRoute' | 'BgpVpnRoute'): string | undefined {
  const { format, json, jsonl } = input.options;
  if ([format !== undefined, json === true, jsonl === true].filter(Boolean).length > 1)
    throw new MlshimError('USAGE', '--json, --jsonl and --format exclude each other');
  if (typeof format === 'string') checkFormat(format, fieldNames(message));
  return format as string | undefined;
}

/** Prints what `--format`, `--jsonl` or `--json` ask for; undefined = text for people is wanted. */
export function askedPrinter<R extends object>(
  { io, options }: Input,
  format: string | undefined,
): ListingPrinter<R> | undefined {
  if (format !== undefined) return perLine(io, (r) => formatted(format, r));
  if (options['jsonl'] === true) return perLine(io, (r) => `${JSON.stringify(r)}\n`);
  return options['json'] === true ? jsonPrinter(io) : undefined;
}

export function perLine<R>(io: Input['io'], line: (route: R) => string): ListingPrinter<R> {
  return { part: (list) => io.out(list.map(line).join('')), end: () => undefined };
}

/** One document, as JSON.stringify with two blanks would make it. */
export function jsonPrinter<R>(io: Input['io']): ListingPrinter<R> {
  let isFirst = true;
  return {
    part: (list) => {
      const texts = list.map((r) => JSON.stringify(r, null, 2).replace(/^/gm, '    '));
      if (texts.length === 0) return;
      io.out(`${isFirst ? '{\n  "routes": [\n' : ',\n'}${texts.join(',\n')}`);
      isFirst = false;
    },
    end: () => io.out(isFirst ? '{\n  "routes": []\n}\n' : '\n  ]\n}\n'),
  };
}

/** IPv4 before IPv6, then by address, shorter first: the order people look things up in. Routes of one prefix stay as they are. */
function inOrder<R extends { readonly prefix: string }>(list: readonly R[]): R[] {
  const keyed = list.map((route) => ({ route, prefix: Prefix.parse(route.prefix)! }));
  return keyed
    .sort((x, y) => x.prefix.addr.compare(y.prefix.addr) || x.prefix.length - y.prefix.length)
    .map(({ route }) => route);
}
