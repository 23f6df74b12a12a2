/** Captures that control clients take: the data plane's packets, as pcapng with one interface for each link. */
import type { UplinkConfig } from '../config/model.ts';
import type { Answers, Verbs } from '../control/messages.ts';
import type { Stream } from '../control/server.ts';
import { VERSION } from '../lib/version.ts';
import type { DataplaneClient } from './dataplane-client.ts';
import type { FromDataplane } from './dataplane-protocol.ts';
import { pcapngHeader, pcapngPackets } from './pcapng.ts';
import type { PlannedLink } from './plan.ts';
import { noTunnel } from './unknown-uplink.ts';

type Taken = Pick<Extract<FromDataplane, { readonly kind: 'captured' }>, 'id' | 'packets'>;

export class Captures {
  readonly #dataplane: Pick<DataplaneClient, 'request' | 'send'>;
  readonly #links: () => readonly PlannedLink[];
  readonly #uplinks: () => readonly UplinkConfig[];
  /** Those who are told, by the number of their capture, and the uplinks their interfaces stand for. */
  readonly #takers = new Map<
    number,
    { readonly stream: Stream<Answers['capture']>; readonly names: readonly string[] }
  >();

  /** @param uplinks all there are, some of which may be no links */
  constructor(
    dataplane: Pick<DataplaneClient, 'request' | 'send'>,
    links: () => readonly PlannedLink[],
    uplinks: () => readonly UplinkConfig[],
  ) {
    this.#dataplane = dataplane;
    this.#links = links;
    this.#uplinks = uplinks;
  }

  /**
   * Send packets of an uplink, or of all, until the client leaves.
   * @throws MlshimError UNKNOWN when no packets of the uplink pass here
   */
  async begin({ uplink, snap_length }: Verbs['capture'], stream: Stream<Answers['capture']>): Promise<void> {
    const links = this.#links();
    const link = uplink === '' ? undefined : links.find((l) => l.spec.name === uplink);
    if (uplink !== '' && link === undefined) throw noTunnel(uplink, this.#uplinks());
    const names = links.map((l) => l.spec.name);
    stream.send({ pcapng: pcapngHeader(names, snap_length, `mlshim ${VERSION}`) });
    const { id, reply } = this.#dataplane.request({
      kind: 'capture-start',
      link: link?.spec.index,
      snapLength: snap_length,
    });
    this.#takers.set(id, { stream, names });
    stream.onClose(() => {
      this.#takers.delete(id);
      this.#dataplane.send({ kind: 'capture-stop', id });
    });
    const { errno } = await reply;
    if (errno !== 0) stream.end();
  }

  /** Packets have passed. Links that came after the capture began have no interface in it. */
  captured({ id, packets }: Taken): void {
    const taker = this.#takers.get(id);
    if (taker === undefined) return;
    const links = this.#links();
    const interfaceOf = (link: number): number =>
      taker.names.indexOf(links.find((l) => l.spec.index === link)?.spec.name ?? '');
    const told = packets.map((p) => ({ ...p, interface: interfaceOf(p.link) })).filter((p) => p.interface >= 0);
    taker.stream.send({ pcapng: pcapngPackets(told) });
  }
}
