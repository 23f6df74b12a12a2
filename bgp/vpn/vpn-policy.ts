/**
 * What a peer's configuration makes of VPN routes: the same rules and policies as for the families with tables here.
 * Read first: bgp/import.ts, bgp/export.ts, RFC 8212 §2, RFC 1997. Origins are not validated: ROAs speak about addresses of
 * the Internet, not about those of a VPN, so every state is NotFound.
 */

import type { Addr, Prefix } from '../../router/lib/addr.ts';
import { nextHopOf } from '../export.ts';
import { importedHop } from '../import.ts';
import { afterImport } from '../import-rules.ts';
import type { Peer } from '../peer.ts';
import { MutableSubject } from '../policy/filter.ts';
import type { VpnPeer } from '../ports.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';

const subject = new MutableSubject();

export function vpnPeer(peer: Peer): VpnPeer {
  return {
    accepting(a: Attributes, hop: NextHop) {
      if (isLoop(peer, a) || peer.importFilter.isClosed) return () => undefined;
      const plan = peer.importFilter.plan(a, hop);
      return (prefix) => {
        const outcome = plan.decide(about(prefix, peer.isExternal ? 'external' : 'internal', peer.config.name));
        if (outcome === undefined) return undefined;
        return {
          attributes: afterImport(outcome.attributes, a.communities, peer.importSettings, peer.isExternal),
          hop: importedHop(outcome.nextHop, peer) ?? hop,
        };
      };
    },
    telling(a: Attributes, hop: Addr) {
      const tell = peer.telling(a, nextHopOf(hop));
      // A VRF's routes come over a session inside the AS.
      return (prefix) => tell?.(about(prefix, 'internal', undefined));
    },
  };
}

/** RFC 4271 §9.1.2: our own AS stands in the path. */
function isLoop(peer: Peer, a: Attributes): boolean {
  const allowed = peer.config.allowOwnAs ?? 0;
  const asns = a.asPath.flatMap((s) => s.asns);
  return peer.loopAses.some((own) => asns.filter((asn) => asn === own).length > allowed);
}

function about(
  { addr, family, length }: Prefix,
  source: 'external' | 'internal',
  from: string | undefined,
): MutableSubject {
  const isLong = family === 6;
  subject.family = family;
  subject.w0 = isLong ? addr.a0 : addr.a3;
  subject.w1 = isLong ? addr.a1 : 0;
  subject.w2 = isLong ? addr.a2 : 0;
  subject.w3 = isLong ? addr.a3 : 0;
  subject.length = length;
  subject.source = source;
  subject.from = from;
  return subject;
}
