/**
 * The data plane's streams for other threads of the daemon: connects and listens as they ask, and answers with descriptors.
 * Also what a BGP peer asks of segments: keys (RFC 2385) and TTLs (RFC 5082).
 */
import { Addr, Prefix } from '../lib/addr.ts';
import type { Hub } from '../shimlink/hub.ts';
import { type Accepted, InProcessListener, openInProcess } from '../shimlink/in-process.ts';
import { md5 } from '../shimlink/md5-keys.ts';
import { AF_INET, AF_INET6, E } from '../shimlink/proto.ts';
import { SockAddr } from '../shimlink/sockaddr.ts';
import type { FlowKey } from '../tcp/port.ts';
import type { PeerTerms } from '../tcp/settings.ts';
import { SegmentKey } from '../tcp/signature.ts';
import type { FromDataplane, StreamSecurity, StreamTerms, ToDataplane } from './dataplane-protocol.ts';

type Message<K extends ToDataplane['kind']> = Extract<ToDataplane, { readonly kind: K }>;

export class DataplaneStreams {
  readonly #hub: Hub;
  readonly #post: (m: FromDataplane) => void;
  readonly #listens = new Map<number, InProcessListener>();

  constructor(hub: Hub, post: (m: FromDataplane) => void) {
    this.#hub = hub;
    this.#post = post;
  }

  connect(m: Message<'stream-connect'>): void {
    const remote = this.#addr(m.remote, m.port, m.link);
    const local = m.local === undefined ? undefined : this.#addr(m.local, 0, m.link);
    if (remote === undefined || (m.local !== undefined && local === undefined)) {
      this.#post({ kind: 'reply', id: m.id, result: undefined, errno: E.EINVAL });
      return;
    }
    const order = { vrf: m.vrf, remote, local, tos: m.tos, terms: peerTerms(m.security ?? {}) };
    openInProcess(this.#hub, process.pid, order, (fd, errno) => {
      const result = errno === 0 ? { result: { fd } } : { result: undefined, errno };
      this.#post({ kind: 'reply', id: m.id, ...result });
    });
  }

  listen(m: Message<'stream-listen'>): void {
    const local = m.local === undefined ? undefined : this.#addr(m.local, m.port, m.link);
    const listener = InProcessListener.open(this.#hub, process.pid, m.vrf, local, m.port, (a) =>
      this.#accepted(m.id, a),
    );
    if (typeof listener === 'number') {
      this.#post({ kind: 'reply', id: m.id, result: undefined, errno: listener });
      return;
    }
    listener.setTerms(this.#termsOf(m.terms ?? []));
    this.#listens.set(m.id, listener);
    this.#post({ kind: 'reply', id: m.id, result: {} });
  }

  /** Other remotes are expected, or with other keys. Connections that stand keep theirs. */
  secure(m: Message<'stream-secure'>): void {
    this.#listens.get(m.listen)?.setTerms(this.#termsOf(m.terms));
  }

  unlisten(m: Message<'stream-unlisten'>): void {
    this.#listens.get(m.listen)?.close();
    this.#listens.delete(m.listen);
  }

  close(): void {
    for (const l of this.#listens.values()) l.close();
  }

  #accepted(listen: number, { fd, stream }: Accepted): void {
    const { remote: r, local: l } = stream;
    this.#post({
      kind: 'accepted',
      listen,
      fd,
      remote: String(r.toAddr()),
      remotePort: r.port,
      local: String(l.toAddr()),
      link: stream.linkName,
    });
  }

  #addr(text: string, port: number, linkName: string | undefined): SockAddr | undefined {
    const [address, zone] = text.split('%');
    const a = Addr.parse(address!);
    if (a === undefined) return undefined;
    const name = zone ?? linkName;
    const scope = a.isLinkLocal && name !== undefined ? (this.#hub.linkByName(name) ?? 0) : 0;
    return new SockAddr().set(a.family === 4 ? AF_INET : AF_INET6, a.a0, a.a1, a.a2, a.a3, port, scope);
  }

  /** The most specific expectation of a remote decides; a link-local one is expected on its link only. */
  #termsOf(all: readonly StreamTerms[]): ((flow: FlowKey) => PeerTerms | undefined) | undefined {
    if (all.length === 0) return undefined;
    const rows = all
      .map((t) => ({ from: Prefix.parse(t.from)!, link: t.link, terms: peerTerms(t) }))
      .sort((a, b) => b.from.length - a.from.length);
    return (f) => {
      const remote = Addr.fromWords(f.r0, f.r1, f.r2, f.r3);
      const isOnLink = (link: string | undefined): boolean =>
        f.scope === 0 || link === undefined || this.#hub.linkByName(link) === f.scope;
      return rows.find((r) => r.from.contains(remote) && isOnLink(r.link))?.terms;
    };
  }
}

function peerTerms(s: StreamSecurity): PeerTerms {
  const key = s.password === undefined ? undefined : new SegmentKey(new TextEncoder().encode(s.password), md5);
  return {
    ...(s.ttl !== undefined && { ttl: s.ttl }),
    ...(s.minTtl !== undefined && { minTtl: s.minTtl }),
    ...(key !== undefined && { key }),
  };
}
