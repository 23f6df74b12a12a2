/** Addresses of WireGuard endpoints that are names. They are how the tunnels come to be, so no tunnel is needed to find them. */
import { lookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Addr } from '../lib/addr.ts';
import { buildDnsQuery, DNS_CLASS_IN, DNS_PORT, DnsType, parseDns } from '../wire/dns.ts';
import { askDatagram, type Upstream } from './dns-upstream.ts';

/** How long the host's resolver is waited for: it may ask through a tunnel that carries nothing any more. */
const RESOLVER_LIMIT_MS = 5000;
/** A server that is silent for so long is not waited for. */
const SERVER_LIMIT_MS = 2000;
const UDP_SIZE = 1232;

/** By the host's resolver, in its order. Rejects when it knows none. */
export async function resolveHost(host: string): Promise<readonly Addr[]> {
  const found = await lookup(host, { all: true, order: 'verbatim' });
  return found.flatMap((f) => Addr.parse(f.address) ?? []);
}

/**
 * By the host's resolver or, where that fails, by asking name servers ourselves on the way that the tunnel's own packets take:
 * the host's routes may lead nowhere once its default route is an uplink's, and rules may lead its resolver into the tunnel.
 * @param servers asked in turn
 */
export async function resolveBeside(
  host: string,
  servers: () => readonly Upstream[],
  port = DNS_PORT,
): Promise<readonly Addr[]> {
  try {
    return await within(RESOLVER_LIMIT_MS, resolveHost(host));
  } catch (e) {
    const asked = servers();
    const both = await Promise.all([DnsType.A, DnsType.AAAA].map((type) => askAll(host, type, asked, port)));
    const found = both.flat();
    if (found.length === 0) throw e;
    return found;
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const end = new AbortController();
  const limit = sleep(ms, undefined, { ref: false, signal: end.signal }).then(() => {
    throw new Error(`the host's resolver does not answer within ${ms / 1000} s`);
  });
  limit.catch(() => undefined);
  try {
    return await Promise.race([work, limit]);
  } finally {
    end.abort();
    work.catch(() => undefined);
  }
}

async function askAll(host: string, type: number, servers: readonly Upstream[], port: number): Promise<Addr[]> {
  for (const server of servers) {
    const found = await askOne(host, type, server, port);
    if (found.length > 0) return found;
  }
  return [];
}

/** @returns none when it knows none, or does not answer */
function askOne(host: string, type: number, server: Upstream, port: number): Promise<Addr[]> {
  const query = buildDnsQuery(0, host, type, UDP_SIZE);
  if (query === undefined) return Promise.resolve([]);
  return new Promise((done) => {
    const cancel = askDatagram(
      server,
      query,
      { name: host, type, class: DNS_CLASS_IN },
      (answer) => {
        clearTimeout(timer);
        done('failure' in answer ? [] : addressesOf(answer.octets));
      },
      port,
    );
    const timer = setTimeout(() => {
      cancel();
      done([]);
    }, SERVER_LIMIT_MS).unref();
  });
}

/** Whatever other names the one that was asked for stands for. */
function addressesOf(octets: Uint8Array): Addr[] {
  return (parseDns(octets)?.answers ?? []).flatMap(({ data }) => (data.kind === 'address' ? [data.addr] : []));
}
