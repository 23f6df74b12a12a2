/** Captures that control clients take: the data plane's packets, as pcapng with one interface for each link. */
import type { Answers, Verbs } from '../control/messages.ts';
import type { Stream } from '../control/server.ts';
import { VERSION } from '../lib/version.ts';
import type { DataplaneClient } from './dataplane-client.ts';
import type { FromDataplane } from './dataplane-protocol.ts';
import { pcapngHeader, pcapngPackets } from './pcapng.ts';
import type { Plan } from './plan.ts';
import { noTunnel } from './unknown-uplink.ts';

type Taken = Pick<Extract<FromDataplane, { readonly kind: 'captured' }>, 'id' | 'packets'>;

export class Captures {
  readonly #dataplane: Pick<DataplaneClient, 'request' | 'send'>;
  readonly #plan: () => Plan;
  /** Those who are told, by the number of their capture. */
  readonly #streams = new Map<number, Stream<Answers['capture']>>();

  constructor(dataplane: Pick<DataplaneClient, 'request' | 'send'>, plan: () => Plan) {
    this.#dataplane = dataplane;
    this.#plan = plan;
  }

  /**
   * Send packets of an uplink, or of all, until the client leaves.
   * @throws MlshimError UNKNOWN when no packets of the uplink pass here
   */
  async begin({ uplink, snap_length }: Verbs['capture'], stream: Stream<Answers['capture']>): Promise<void> {
    const { links } = this.#plan();
    const link = uplink === '' ? undefined : links.find((l) => l.spec.name === uplink);
    if (uplink !== '' && link === undefined) throw noTunnel(uplink, this.#plan());
    const names = links.map((l) => l.spec.name);
    stream.send({ pcapng: pcapngHeader(names, snap_length, `mlshim ${VERSION}`) });
    const { id, reply } = this.#dataplane.request({
      kind: 'capture-start',
      link: link?.spec.index,
      snapLength: snap_length,
    });
    this.#streams.set(id, stream);
    stream.onClose(() => {
      this.#streams.delete(id);
      this.#dataplane.send({ kind: 'capture-stop', id });
    });
    const { errno } = await reply;
    if (errno !== 0) stream.end();
  }

  /** Packets have passed. */
  captured({ id, packets }: Taken): void {
    const { links } = this.#plan();
    const known = packets.map((p) => ({ ...p, interface: links.findIndex((l) => l.spec.index === p.link) }));
    this.#streams.get(id)?.send({ pcapng: pcapngPackets(known.filter((p) => p.interface >= 0)) });
  }
}
