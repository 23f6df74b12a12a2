/** Those who only listen to BGP: the stations and files of the configuration, fed by the speaker. */
import { BmpFeed } from '../../bgp/monitor/bmp-feed.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import type { BgpConfig } from '../config/bgp-model.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { VERSION } from '../lib/version.ts';
import { BmpClient } from './bmp-client.ts';
import { MrtFiles } from './mrt-files.ts';

export class BgpMonitoring {
  readonly #clients: readonly BmpClient[];
  readonly #files: MrtFiles;

  constructor(settings: BgpConfig, speaker: Speaker, systemName: string, log: Logger) {
    this.#clients = settings.bmp.map((station) => {
      const feed = new BmpFeed({
        systemName,
        description: `mlshim ${VERSION}`,
        wallMs: wallClockMs,
        sessions: () => speaker.sessions(),
        routes: (peer) => speaker.receivedUpdates(peer),
        statistics: (peer) => speaker.statistics(peer),
      });
      speaker.addMonitor(feed);
      return new BmpClient(station, feed, log);
    });
    this.#files = new MrtFiles(speaker, log);
    if (settings.mrt.tables !== undefined) this.#files.tables(settings.mrt.tables);
    if (settings.mrt.updates !== undefined) this.#files.updates(settings.mrt.updates);
  }

  start(): void {
    for (const client of this.#clients) client.start();
  }

  async stop(): Promise<void> {
    this.#files.stop();
    await Promise.all(this.#clients.map((c) => c.stop()));
  }
}
