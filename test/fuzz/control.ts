/** Frames on the control socket, in both directions. */
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  FrameReader,
} from '../../router/control/codec.ts';
import { BODY_OF, type Request, type Verb } from '../../router/control/messages.ts';
import { Random } from '../../router/lib/rand.ts';
import { check, cutUp } from './holds.ts';

const VERBS = Object.keys(BODY_OF) as Verb[];
const args = { dst: '172.20.0.53', prefix: 'fd00::/8', peer: 'b', kind: 'in', text: 'bye', cursor: '7' };

export const CONTROL_SEEDS: readonly Uint8Array[] = [
  ...VERBS.map((verb, id) => encodeRequest({ id, verb, args } as unknown as Request)),
  encodeResponse('bgp_show', {
    id: 1,
    more: false,
    body: { asn: 5, router_id: '1.1.1.1', peers: [{ name: 'a', timers_s: { hold: 7.5 }, capabilities: ['x'] }] },
  }),
  encodeResponse('route_get', { id: 2, more: true, failure: { code: 'E1', message: 'no', hint: '', exit: 1 } }),
];

/** @throws when something that must hold does not */
export function controlStream(octets: Uint8Array): void {
  const bodies = (chunks: readonly Uint8Array[]): Uint8Array[] | undefined => {
    const reader = new FrameReader();
    const out: Uint8Array[] = [];
    for (const chunk of chunks) {
      const some = reader.push(chunk);
      if (some === undefined) return undefined;
      out.push(...some);
    }
    return out;
  };
  const whole = bodies([octets]);
  const cut = bodies(cutUp(octets, new Random(octets.length)));
  check(JSON.stringify(whole) === JSON.stringify(cut), 'the borders of chunks make a difference');
  for (const body of whole ?? []) {
    decodeResponse(body);
    const request = decodeRequest(body);
    if (request === undefined) continue;
    const again = decodeRequest(encodeRequest(request).subarray(4));
    check(JSON.stringify(again) === JSON.stringify(request), 'a request changed on the way');
  }
}
