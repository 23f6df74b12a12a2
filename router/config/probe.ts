/** How an uplink is asked whether it can be used, in the configuration file: `probe`. What is asked is router/uplink/probe.ts. */
import type { z } from 'zod';
import type { Addr } from '../lib/addr.ts';
import { HTTP_PORT, PROBE_KINDS, type ProbeKind, type ProbeQuestion } from '../uplink/probe.ts';
import { DNS_PORT, DnsType, dnsLabels } from '../wire/dns.ts';
import { addr, choice, int, milliseconds, object, Refusal, some, text } from './fields.ts';
import type { ProbeConfig } from './model.ts';
import type { Path, SourceTree } from './tree.ts';

const MAX_PORT = 65535;
const DNS_TYPES = ['A', 'AAAA', 'NS', 'SOA'] as const;

const dnsName = text('a name', (s): string | Refusal => {
  const plain = s === '.' ? '' : s.replace(/\.$/, '');
  return dnsLabels(plain) === undefined ? new Refusal(`"${s}" is not a name that can be asked for`) : plain;
});

/** RFC 9112 §3.2.1: the absolute path and query of a request. */
const httpPath = text('a path', (s): string | Refusal =>
  /^\/[!-~]*$/.test(s) ? s : new Refusal(`"${s}" is not a path such as /health (other characters as %XX)`),
);

const httpHost = text('a host', (s): string | Refusal =>
  /^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/.test(s) ? s : new Refusal(`"${s}" is not a host`),
);

export const probe = object({
  /** Asked in turn through the uplink. */
  to: some(addr, 'addresses'),
  kind: choice(PROBE_KINDS).default('icmp'),
  port: int(1, MAX_PORT, 'a port').optional(),
  name: dnsName.optional(),
  type: choice(DNS_TYPES).optional(),
  path: httpPath.optional(),
  host: httpHost.optional(),
  expect: some(int(200, 599, 'an HTTP status'), 'HTTP statuses').optional(),
  every: milliseconds(100, 3_600_000).default(5000),
  timeout: milliseconds(10, 60_000).default(1000),
  /** Lost probes in a row that take the uplink out, and answers in a row that bring it back. */
  fall: int(1, 100, 'a number of probes').default(3),
  rise: int(1, 100, 'a number of probes').default(2),
});

export type ParsedProbe = z.output<typeof probe>;

/** Whose keys they are; a key for another kind is a mistake that would go unnoticed. */
const PROBE_KEYS: Readonly<Record<'port' | 'name' | 'type' | 'path' | 'host' | 'expect', readonly ProbeKind[]>> = {
  port: ['tcp', 'dns', 'http'],
  name: ['dns'],
  type: ['dns'],
  path: ['http'],
  host: ['http'],
  expect: ['http'],
};

export function toProbe(p: ParsedProbe): ProbeConfig {
  const { to, every, timeout, fall, rise } = p;
  return { targets: to, everyMs: every, timeoutMs: timeout, fall, rise, question: questionOf(p) };
}

function questionOf(p: ParsedProbe): ProbeQuestion {
  switch (p.kind) {
    case 'icmp':
      return { kind: 'icmp' };
    case 'tcp':
      return { kind: 'tcp', port: p.port! };
    case 'dns':
      return { kind: 'dns', port: p.port ?? DNS_PORT, name: p.name ?? '', type: DnsType[p.type ?? 'NS'] };
    case 'http':
      return {
        kind: 'http',
        port: p.port ?? HTTP_PORT,
        path: p.path ?? '/',
        host: p.host,
        expect: p.expect ?? [],
      };
  }
}

/**
 * Keys of a probe must fit its kind, and its targets the uplink.
 * @param source the address that packets of the uplink carry, where that is all it is
 */
export function checkProbe(tree: SourceTree, p: ParsedProbe, at: Path, source: Addr | undefined): void {
  for (const to of p.to)
    if (source !== undefined && to.family !== source.family)
      tree.report('error', [...at, 'to'], `${to} cannot be asked from ${source}: it is of the other family`);
  for (const [key, kinds] of Object.entries(PROBE_KEYS) as [keyof typeof PROBE_KEYS, readonly ProbeKind[]][])
    if (p[key] !== undefined && !kinds.includes(p.kind))
      tree.report(
        'error',
        [...at, key],
        `"${key}" belongs to probes of kind ${kinds.join(', ')}; this one is ${p.kind}`,
      );
  if (p.kind === 'tcp' && p.port === undefined) tree.report('error', at, 'a probe of kind tcp needs a "port"');
}
